//! How the connection to a peer ends.

use std::sync::Arc;
use std::time::Duration;

use quinn::{Connection, ConnectionError, VarInt};
use tokio::sync::Notify;
use tokio::time::sleep;

use crate::net::close;

/// Twice so long without an answer, each time with something that wants one, is the end: the peer has closed the connection
/// and nothing says so any more, or there is no way to it. QUIC itself would wait for ten minutes.
const SILENCE: Duration = Duration::from_secs(30);

/// See the module.
#[derive(Debug)]
pub(super) enum Ending {
    /// As QUIC says.
    Closed(ConnectionError),
    /// Something went wrong at this end that may be over soon.
    Trouble,
    /// The peer does not answer any more.
    Silence,
}

impl Ending {
    /// Waits for the end of `connection`, which `trouble` brings about as well as silence.
    pub(super) async fn of(connection: Connection, trouble: Arc<Notify>) -> Self {
        let ending = tokio::select! {
            error = connection.closed() => return Self::Closed(error),
            () = trouble.notified() => Self::Trouble,
            () = silence(&connection) => Self::Silence,
        };
        connection.close(VarInt::from_u32(close::TROUBLE), b"");
        ending
    }

    /// Whether the connection ended because of trouble, here or there.
    pub(super) fn is_trouble(&self) -> bool {
        match self {
            Self::Trouble => true,
            Self::Closed(ConnectionError::ApplicationClosed(reason)) => {
                reason.error_code == VarInt::from_u32(close::TROUBLE)
            }
            Self::Closed(_) | Self::Silence => false,
        }
    }

    /// Whether one of the two has left in good order; `was_early`: before the handshake was complete.
    pub(super) fn is_farewell(&self, was_early: bool) -> bool {
        match self {
            Self::Closed(ConnectionError::ApplicationClosed(reason)) => {
                reason.error_code == VarInt::from_u32(close::BYE)
            }
            // An attempt that was given up is no farewell.
            Self::Closed(ConnectionError::LocallyClosed) => !was_early,
            Self::Closed(_) | Self::Trouble | Self::Silence => false,
        }
    }

    /// Why the connection ended, in words for the user.
    pub(super) fn describe(&self) -> String {
        match self {
            Self::Closed(ConnectionError::ApplicationClosed(reason)) => {
                match u32::try_from(reason.error_code.into_inner()) {
                    Ok(close::BYE) => "left".to_owned(),
                    Ok(close::REPLACED) => "connected anew".to_owned(),
                    // What kind of trouble is nobody else's business: the code says it all.
                    Ok(close::TROUBLE) => "had trouble on their side".to_owned(),
                    _ => common::text::one_line(&String::from_utf8_lossy(&reason.reason), 200),
                }
            }
            Self::Closed(ConnectionError::LocallyClosed) | Self::Trouble => "closed".to_owned(),
            Self::Closed(ConnectionError::TimedOut) | Self::Silence => "no answer any more".to_owned(),
            Self::Closed(other) => other.to_string(),
        }
    }
}

/// Ends when datagrams have gone out in two turns without one that came in.
async fn silence(connection: &Connection) {
    let count = || {
        let stats = connection.stats();
        (stats.udp_rx.datagrams, stats.udp_tx.datagrams)
    };
    let (mut unanswered, (mut heard, mut said)) = (false, count());
    loop {
        sleep(SILENCE).await;
        let (now_heard, now_said) = count();
        let asked_in_vain = now_heard == heard && now_said > said;
        if asked_in_vain && unanswered {
            return;
        }
        (unanswered, heard, said) = (asked_in_vain, now_heard, now_said);
    }
}
