//! Bulk over loopback: processor time and rate of the project's network layer beside plain quinn.
//!
//! Both ends are in this process, so that its processor time is that of both. The stacks take turns, run by run,
//! and what is compared is the median of the ratios within a run.

use std::sync::Arc;
use std::time::Duration;

use common::identity::Identity;
use quinn::{AckFrequencyConfig, AsyncUdpSocket, Connection, MtuDiscoveryConfig};
use rendezvous::{Limits, Server};
use tokio::runtime::{Builder, Runtime};

use super::bare::{Bare, real_sockets};
use super::plain::{self, Cipher, Setup};
use super::stats::{Samples, median_ratio};
use super::{Figure, Report, Target, cpu};
use crate::world::now;

/// Bytes sent before measuring begins: windows have opened, the MTU is found.
const WARM_UP: u64 = 32 << 20;
/// Bytes written at once.
const WRITE: usize = 64 << 10;
/// The largest UDP payload that fits loopback's MTU of 65,536 and quinn.
const LOOPBACK_PAYLOAD: u16 = 65_500;
/// UDP payload in an Ethernet jumbo frame of 9,000.
const JUMBO_PAYLOAD: u16 = 8_952;

/// Whether single knobs are tried beside the three main rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Knobs {
    /// Only the main rows.
    Skip,
    /// Each knob by itself.
    Try,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Threads {
    One,
    Two,
}

enum Stack {
    /// The project's network layer on a direct path.
    Ours,
    /// Plain quinn on the project's sockets.
    Plain(Setup),
    /// Plain quinn on sockets as the system makes them.
    Library(Setup),
}

struct Variant {
    name: &'static str,
    stack: Stack,
    threads: Threads,
}

/// One measured transfer.
#[derive(Debug, Clone, Copy)]
struct Cost {
    cpu_s_per_gb: f64,
    mb_per_s: f64,
}

/// Transfers `megabytes` with every stack, `runs` times in turn.
///
/// # Errors
/// If a transfer fails.
pub fn run(runs: u64, megabytes: u64, knobs: Knobs, report: &mut Report) -> anyhow::Result<()> {
    let variants = variants(knobs);
    let mut costs = vec![Vec::new(); variants.len()];
    for _ in 0..runs {
        for (variant, costs) in variants.iter().zip(&mut costs) {
            costs.push(measure(variant, megabytes << 20)?);
        }
    }
    summarise(&variants, &costs, report);
    Ok(())
}

const OURS: usize = 0;
const SAME: usize = 1;
const LIBRARY: usize = 2;

fn variants(knobs: Knobs) -> Vec<Variant> {
    let many = |name, stack| Variant { name, stack, threads: Threads::Two };
    let one = |name, stack| Variant { name, stack, threads: Threads::One };
    let mut variants = vec![
        many("ours", Stack::Ours),
        many("plain quinn, same settings", Stack::Plain(Setup::ours(|_| ()))),
        many("quinn defaults", Stack::Library(Setup::library())),
        one("ours, one thread", Stack::Ours),
    ];
    if knobs == Knobs::Try {
        let with_cipher = |cipher| Stack::Plain(Setup { cipher, ..Setup::ours(|_| ()) });
        variants.extend([
            one("plain, one thread", Stack::Plain(Setup::ours(|_| ()))),
            many("plain, AES-256-GCM", with_cipher(Cipher::Library)),
            many("plain, ChaCha20", with_cipher(Cipher::ChaCha)),
            many("plain, window 2 MiB", Stack::Plain(Setup::ours(small_window))),
            many("plain, rarer acknowledgements", Stack::Plain(Setup::ours(rare_acks))),
            many("plain, no GSO", Stack::Plain(Setup::ours(no_gso))),
            many("plain, MTU 9000", Stack::Plain(large_mtu(JUMBO_PAYLOAD))),
            many("plain, MTU of loopback", Stack::Plain(large_mtu(LOOPBACK_PAYLOAD))),
            one("plain, one thread, MTU 9000", Stack::Plain(large_mtu(JUMBO_PAYLOAD))),
        ]);
    }
    variants
}

fn small_window(transport: &mut quinn::TransportConfig) {
    transport.stream_receive_window((2u32 << 20).into()).send_window(2 << 20);
}

fn no_gso(transport: &mut quinn::TransportConfig) {
    transport.enable_segmentation_offload(false);
}

fn rare_acks(transport: &mut quinn::TransportConfig) {
    let mut acks = AckFrequencyConfig::default();
    acks.ack_eliciting_threshold(20u32.into());
    transport.ack_frequency_config(Some(acks));
}

fn large_mtu(payload: u16) -> Setup {
    let mut setup = Setup::ours(|transport| {
        let mut mtu = MtuDiscoveryConfig::default();
        mtu.upper_bound(payload);
        transport.mtu_discovery_config(Some(mtu));
    });
    // Sizes below are within QUIC's bounds, so that this cannot fail.
    let _ = setup.endpoint.max_udp_payload_size(payload);
    setup
}

fn runtime(threads: Threads) -> std::io::Result<Runtime> {
    match threads {
        Threads::One => Builder::new_current_thread().enable_all().build(),
        Threads::Two => Builder::new_multi_thread().worker_threads(2).enable_all().build(),
    }
}

fn measure(variant: &Variant, bytes: u64) -> anyhow::Result<Cost> {
    runtime(variant.threads)?.block_on(async {
        match &variant.stack {
            Stack::Ours => ours(bytes).await,
            Stack::Plain(setup) => plain(own_socket()?, own_socket()?, setup, bytes).await,
            Stack::Library(setup) => {
                plain(plain::system_socket()?, plain::system_socket()?, setup, bytes).await
            }
        }
    })
}

/// An IPv4 socket as the project makes them.
pub(super) fn own_socket() -> std::io::Result<Arc<dyn AsyncUdpSocket>> {
    let mut links = client::net::links::bind(0)?;
    links.retain(|link| link.local_addr().is_ok_and(|addr| addr.is_ipv4()));
    links.pop().ok_or_else(|| std::io::ErrorKind::AddrNotAvailable.into())
}

async fn plain(
    from: Arc<dyn AsyncUdpSocket>,
    to: Arc<dyn AsyncUdpSocket>,
    setup: &Setup,
    bytes: u64,
) -> anyhow::Result<Cost> {
    let port = to.local_addr()?.port();
    let pair = plain::pair([from, to], ([127, 0, 0, 1], port).into(), setup).await?;
    transfer_cost(&pair.dialler, &pair.acceptor, bytes).await
}

/// Two networks meet at a server in this process and go direct; the server has nothing to do after that.
async fn ours(bytes: u64) -> anyhow::Result<Cost> {
    let socket = own_socket()?;
    let address = ([127, 0, 0, 1], socket.local_addr()?.port()).into();
    let server = Server::with_sockets(&Identity::from_seed([7; 32]), Limits::default(), vec![socket])?;
    let target = (address, server.peer_id());
    let mut a = Bare::start(rand::random(), (client::net::links::bind(0)?, real_sockets()), target).await?;
    let mut b = Bare::start(rand::random(), (client::net::links::bind(0)?, real_sockets()), target).await?;
    a.net.dial(b.id).await;
    let (from, to) = (a.connected().await?, b.connected().await?);
    a.settle_direct(b.id).await?;
    b.settle_direct(a.id).await?;
    let cost = transfer_cost(&from.connection, &to.connection, bytes).await?;
    a.net.shutdown().await;
    b.net.shutdown().await;
    server.shutdown().await;
    Ok(cost)
}

async fn transfer_cost(from: &Connection, to: &Connection, bytes: u64) -> anyhow::Result<Cost> {
    transfer(from, to, WARM_UP).await?;
    let (start, used) = (now(), cpu::process_time());
    transfer(from, to, bytes).await?;
    let (wall, used) = (start.elapsed(), cpu::process_time().saturating_sub(used));
    let per_gb = |time: Duration| time.as_secs_f64() / (bytes as f64 / 1e9);
    Ok(Cost { cpu_s_per_gb: per_gb(used), mb_per_s: 1e3 / per_gb(wall) })
}

async fn transfer(from: &Connection, to: &Connection, bytes: u64) -> anyhow::Result<()> {
    let mut tasks = tokio::task::JoinSet::new();
    let (from, to) = (from.clone(), to.clone());
    tasks.spawn(async move {
        let block = vec![0x5a; WRITE];
        let (mut send, _unused) = from.open_bi().await?;
        let mut left = bytes;
        while left > 0 {
            let len = usize::try_from(left).unwrap_or(WRITE).min(WRITE);
            left -= send.write(&block[..len]).await? as u64;
        }
        send.finish()?;
        let _ = send.stopped().await?;
        anyhow::Ok(())
    });
    tasks.spawn(async move {
        let (_unused, mut recv) = to.accept_bi().await?;
        let mut total = 0;
        while let Some(chunk) = recv.read_chunk(usize::MAX, true).await? {
            total += chunk.bytes.len() as u64;
        }
        anyhow::ensure!(total == bytes, "{total} of {bytes} bytes arrived");
        anyhow::Ok(())
    });
    while let Some(ended) = tasks.join_next().await {
        ended??;
    }
    Ok(())
}

fn summarise(variants: &[Variant], costs: &[Vec<Cost>], report: &mut Report) {
    let cpu = |n: usize| -> Vec<f64> { costs[n].iter().map(|cost| cost.cpu_s_per_gb).collect() };
    let rate = |n: usize| -> Vec<f64> { costs[n].iter().map(|cost| cost.mb_per_s).collect() };
    let median = |values: Vec<f64>| values.into_iter().collect::<Samples>().median();
    for (n, variant) in variants.iter().enumerate() {
        let name = variant.name;
        report.add(Figure::new("bulk", format!("{name}: rate"), "MB/s", median(rate(n))));
        let ratio = median_ratio(&cpu(n), &cpu(SAME));
        report.add(
            Figure::new("bulk", format!("{name}: processor, both ends"), "s/GB", median(cpu(n)))
                .beside("x plain quinn, same settings", ratio),
        );
    }
    let ratio = |name: &str, value, target| Figure::new("bulk", name, "x", value).target(target);
    let same_rate = median_ratio(&rate(OURS), &rate(SAME));
    report.add(ratio("ours / plain quinn, same settings: rate", same_rate, Target::AtLeast(0.95)));
    let same_cpu = median_ratio(&cpu(OURS), &cpu(SAME));
    report.add(ratio("ours / plain quinn, same settings: processor", same_cpu, Target::AtMost(1.05)));
    let library = median_ratio(&cpu(OURS), &cpu(LIBRARY));
    report.add(ratio("ours / quinn defaults: processor (stretch)", library, Target::AtMost(0.80)));
}
