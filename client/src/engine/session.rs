//! One connected peer: greetings and candidates on the control stream, messages on the log stream.

use bytes::BytesMut;
use common::frame::{self, Message as _};
use common::identity::PeerId;
use common::stun::check::Side;
use common::text;
use common::traversal::tcp::Offer;
use quinn::{Connection, ReadError, ReadExactError, RecvStream, SendStream, VarInt};
use tokio::sync::{mpsc, watch};

use super::Event;
use super::echo::{self, Wish};
use super::run::Context;
use super::signals;
use super::wire::{Candidates, Hello, MAX_CANDIDATES, StreamKind, ToPeer};
use crate::log::exchange::{self, Exchange, ExchangeError, ExchangeEvent, WallClock};
use crate::net::{Handshake, Link, close, words_of};

/// Events of the log that wait for the engine.
const QUEUE_LEN: usize = 256;
/// Bytes read from the control stream at once.
const READ_LEN: usize = 4096;

/// What a session tells the engine.
#[derive(Debug)]
pub(super) enum Report {
    /// Greeted and proven.
    Greeted { name: String, words: String },
    /// Something for the engine.
    Told(ToPeer),
    /// From the log.
    Log(ExchangeEvent),
}

/// What the engine wants a session to send.
#[derive(Debug)]
pub(super) struct Inbox {
    /// On the control stream.
    pub(super) frames: mpsc::Receiver<ToPeer>,
    /// Round trips to be measured.
    pub(super) pings: mpsc::Receiver<Wish>,
}

/// Why a session ended other than by the connection's end.
#[derive(Debug, thiserror::Error)]
enum SessionError {
    /// The connection ended; the network reports that itself.
    #[error("the connection ended")]
    Connection,
    /// Early data was refused: everything is to be opened anew.
    #[error("early data was refused")]
    EarlyRejected,
    /// The peer broke the protocol.
    #[error("{0}")]
    Protocol(String),
    /// Our own side failed.
    #[error("{0}")]
    Local(String),
}

/// Serves `link` until its connection ends, and sends the peer what is in `inbox`. Reports are labelled by the caller's
/// channel.
pub(super) async fn run(context: Context, link: Link, reports: mpsc::Sender<Report>, mut inbox: Inbox) {
    loop {
        let began = *link.handshake.borrow();
        match serve(&context, &link, &reports, &mut inbox).await {
            Err(SessionError::EarlyRejected) => {}
            // The streams break before the handshake's outcome is known.
            Ok(()) | Err(SessionError::Connection)
                if began == Handshake::Early && was_refused(link.handshake.clone()).await => {}
            Err(SessionError::Protocol(reason)) => {
                link.connection.close(VarInt::from_u32(close::PROTOCOL), reason.as_bytes());
                return;
            }
            Err(SessionError::Local(message)) => {
                let _ = context.events.send(Event::Error { message }).await;
                link.trouble.notify_one();
                return;
            }
            Ok(()) | Err(SessionError::Connection) => {
                // Without a session the connection is of no use. One that has ended is left alone: closing it would
                // hide why it did.
                if link.connection.close_reason().is_none() {
                    link.trouble.notify_one();
                }
                return;
            }
        }
    }
}

async fn serve(
    context: &Context,
    link: &Link,
    reports: &mpsc::Sender<Report>,
    Inbox { frames, pings }: &mut Inbox,
) -> Result<(), SessionError> {
    let [control, log] = streams(&link.connection, link.side).await?;
    let (events, mut log_events) = mpsc::channel(QUEUE_LEN);
    let exchange = Exchange {
        store: context.store.clone(),
        peer: link.peer,
        events,
        clock: WallClock(context.wall_clock),
        typing: context.typing.clone(),
    };
    let exchange = exchange::run(exchange, log.1, log.0);
    let forward = async {
        while let Some(event) = log_events.recv().await {
            let _ = reports.send(Report::Log(event)).await;
        }
        std::future::pending::<()>().await;
    };
    tokio::select! {
        result = greet(context, link, control, reports, frames) => result,
        result = exchange => match result {
            Ok(()) => Err(SessionError::Connection),
            Err(error) => Err(sort(link, &error)),
        },
        () = forward => Ok(()),
        ended = echo(link, pings) => ended,
        ended = refuse_streams(&link.connection) => Err(ended),
        () = early_rejected(link.handshake.clone()) => Err(SessionError::EarlyRejected),
    }
}

/// Pings, as soon as the peer is proven.
async fn echo(link: &Link, pings: &mut mpsc::Receiver<Wish>) -> Result<(), SessionError> {
    complete(link).await?;
    echo::serve(&link.connection, pings).await;
    Err(SessionError::Connection)
}

/// Whose fault an error of the log stream was.
fn sort(link: &Link, error: &ExchangeError) -> SessionError {
    match error {
        ExchangeError::Io(_) if *link.handshake.borrow() == Handshake::EarlyRejected => {
            SessionError::EarlyRejected
        }
        ExchangeError::Io(_) | ExchangeError::Cut => SessionError::Connection,
        ExchangeError::Store(error) => SessionError::Local(error.to_string()),
        other => SessionError::Protocol(other.to_string()),
    }
}

/// Ends when the early data that this session began with turns out to be refused; never for a session that began
/// after that.
async fn early_rejected(handshake: watch::Receiver<Handshake>) {
    if *handshake.borrow() == Handshake::Early && was_refused(handshake).await {
        return;
    }
    std::future::pending::<()>().await;
}

/// Waits until the handshake has ended, and tells whether it did so well but without the early data.
async fn was_refused(mut handshake: watch::Receiver<Handshake>) -> bool {
    let ended = handshake.wait_for(|state| *state != Handshake::Early).await;
    ended.is_ok_and(|state| *state == Handshake::EarlyRejected)
}

type Stream = (SendStream, RecvStream);

/// The control and the log stream. The dialling side opens them and labels each with its kind.
async fn streams(connection: &Connection, side: Side) -> Result<[Stream; 2], SessionError> {
    if side == Side::Dialer {
        let control = open(connection, StreamKind::Control).await?;
        let log = open(connection, StreamKind::Log).await?;
        return Ok([control, log]);
    }
    let (mut control, mut log) = (None, None);
    loop {
        let (send, mut recv) = connection.accept_bi().await.map_err(|_| SessionError::Connection)?;
        let mut kind = [0];
        let kind = match recv.read_exact(&mut kind).await {
            Ok(()) => Some(kind[0]),
            // It was given up before it said what it was for.
            Err(ReadExactError::FinishedEarly(_) | ReadExactError::ReadError(ReadError::Reset(_))) => None,
            Err(_) => return Err(SessionError::Connection),
        };
        let place = match kind {
            Some(kind) if kind == StreamKind::Control as u8 => Some(&mut control),
            Some(kind) if kind == StreamKind::Log as u8 => Some(&mut log),
            _ => None,
        };
        match place {
            Some(place) if place.is_none() => *place = Some((send, recv)),
            // A newer peer's stream, or a second one of its kind.
            _ => refuse((send, recv)),
        }
        match (control, log) {
            (Some(control), Some(log)) => return Ok([control, log]),
            unfinished => (control, log) = unfinished,
        }
    }
}

/// Refuses whatever the peer opens beyond the two streams of a session, until the connection ends.
async fn refuse_streams(connection: &Connection) -> SessionError {
    while let Ok(stream) = connection.accept_bi().await {
        refuse(stream);
    }
    SessionError::Connection
}

/// The peer learns that we do not have this stream, and it no longer counts among those that are open.
fn refuse((mut send, mut recv): Stream) {
    let code = VarInt::from_u32(close::PROTOCOL);
    // One that has ended by itself needs no refusal.
    let _ = send.reset(code);
    let _ = recv.stop(code);
}

async fn open(connection: &Connection, kind: StreamKind) -> Result<Stream, SessionError> {
    let (mut send, recv) = connection.open_bi().await.map_err(|_| SessionError::Connection)?;
    send.write_all(&[kind as u8]).await.map_err(|_| SessionError::Connection)?;
    Ok((send, recv))
}

/// The control stream: our greeting at once, our addresses when the handshake is complete and whenever they change,
/// the peer's whenever they come.
async fn greet(
    context: &Context,
    link: &Link,
    (mut send, mut recv): Stream,
    reports: &mpsc::Sender<Report>,
    frames: &mut mpsc::Receiver<ToPeer>,
) -> Result<(), SessionError> {
    let ended = |_| SessionError::Connection;
    if link.side == Side::Acceptor {
        // Our name is for the proven peer alone.
        complete(link).await?;
    }
    let hello = ToPeer::from(Hello { name: context.name.clone(), features: Vec::new() });
    send.write_all(&hello.to_bytes()).await.map_err(ended)?;
    complete(link).await?;
    let mut candidates = context.net.candidates();
    candidates.mark_changed();
    let mut buffer = BytesMut::new();
    let mut tcp_offers = link.tcp_offers.clone();
    let mut signals = link.signals.lock().await;
    loop {
        while let Some(frame) =
            frame::take(&mut buffer).map_err(|error| SessionError::Protocol(error.to_string()))?
        {
            handle(context, link, frame, reports).await;
        }
        let chunk = tokio::select! {
            Some(signal) = signals.recv() => {
                send.write_all(&signals::to_frame(signal).to_bytes()).await.map_err(ended)?;
                continue;
            }
            Some(frame) = frames.recv() => {
                send.write_all(&frame.to_bytes()).await.map_err(ended)?;
                continue;
            }
            offer = next_offer(&mut tcp_offers) => {
                send.write_all(&ToPeer::from(offer).to_bytes()).await.map_err(ended)?;
                continue;
            }
            Ok(()) = candidates.changed() => {
                let mut addrs = candidates.borrow_and_update().clone();
                addrs.truncate(MAX_CANDIDATES);
                let frame = ToPeer::from(Candidates { addrs });
                send.write_all(&frame.to_bytes()).await.map_err(ended)?;
                continue;
            }
            chunk = recv.read_chunk(READ_LEN, true) => chunk,
        };
        match chunk {
            Ok(Some(chunk)) => buffer.extend_from_slice(&chunk.bytes),
            Ok(None) => return Err(SessionError::Protocol("the control stream was ended".to_owned())),
            Err(_) => return Err(SessionError::Connection),
        }
    }
}

/// What the network wants the peer to be told of TCP.
async fn next_offer(offers: &mut watch::Receiver<Option<Offer>>) -> Offer {
    while offers.changed().await.is_ok() {
        if let Some(offer) = offers.borrow_and_update().clone() {
            return offer;
        }
    }
    std::future::pending().await
}

async fn complete(link: &Link) -> Result<(), SessionError> {
    let mut handshake = link.handshake.clone();
    handshake
        .wait_for(|state| *state != Handshake::Early)
        .await
        .map(drop)
        .map_err(|_| SessionError::Connection)
}

async fn handle(context: &Context, link: &Link, frame: ToPeer, reports: &mpsc::Sender<Report>) {
    match frame {
        ToPeer::Hello(hello) => {
            let name = text::one_line(&hello.name, text::MAX_NAME);
            let words = words_of(&link.connection).map(|words| words.join(" ")).unwrap_or_default();
            let _ = reports.send(Report::Greeted { name, words }).await;
        }
        ToPeer::Candidates(Candidates { mut addrs }) => {
            addrs.truncate(MAX_CANDIDATES);
            context.net.add_candidates(link.peer, addrs).await;
        }
        ToPeer::TcpOffer(offer) => context.net.handle_tcp_offer(link.peer, offer).await,
        ToPeer::Nat(frame) => context.net.handle_signal(link.peer, &signals::nat(&frame)),
        ToPeer::Aim(frame) => context.net.handle_signal(link.peer, &signals::aim(frame)),
        ToPeer::Access(frame) => context.net.handle_signal(link.peer, &signals::access(&frame)),
        ToPeer::Counter(frame) => context.net.handle_signal(link.peer, &signals::counter(&frame)),
        ToPeer::Knock(_)
        | ToPeer::Answer(_)
        | ToPeer::Seek(_)
        | ToPeer::Sought(_)
        | ToPeer::Found(_)
        | ToPeer::Met(_) => drop(reports.send(Report::Told(frame)).await),
    }
}

/// A session's number, so that reports of one that was replaced are told apart.
pub(super) type SessionNumber = u64;

/// A report with its sender.
pub(super) type Labelled = (PeerId, SessionNumber, Report);

#[cfg(test)]
mod tests;
