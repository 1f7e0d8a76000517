//! Against a router of our own on loopback, which speaks PCP or NAT-PMP and keeps a table.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use tokio::net::UdpSocket;
use tokio::time::timeout;

use super::*;

/// The port of both protocols (RFC 6886 §1.1, RFC 6887 §19.1).
const ROUTER_PORT: u16 = 5351;
const EXTERNAL: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 7);
const INTERNAL_PORT: u16 = 40_001;
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Clone, Copy, PartialEq)]
enum Dialect {
    Pcp,
    NatPmp,
}

/// What the router holds, and how often it was asked for mappings.
#[derive(Default)]
struct Table {
    external: BTreeMap<u16, u16>,
    requests: usize,
}

impl Table {
    /// A lifetime of zero removes; returns the external port.
    fn map(&mut self, internal: u16, lifetime: u32) -> u16 {
        self.requests += 1;
        if lifetime == 0 {
            self.external.remove(&internal);
            return 0;
        }
        *self.external.entry(internal).or_insert(internal + 1_000)
    }
}

fn number<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    bytes[at..at + N].try_into().unwrap()
}

/// RFC 6887 §7.2 and §11.1.
fn answer_pcp(table: &mut Table, request: &[u8]) -> Vec<u8> {
    let lifetime = u32::from_be_bytes(number(request, 4));
    let external = table.map(u16::from_be_bytes(number(request, 40)), lifetime);
    let mut answer = request.to_vec();
    answer[1] |= 0x80;
    answer[2..4].fill(0);
    answer[8..24].fill(0);
    answer[42..44].copy_from_slice(&external.to_be_bytes());
    answer[44..60].copy_from_slice(&EXTERNAL.to_ipv6_mapped().octets());
    answer
}

/// RFC 6886 §3.2, §3.3 and §3.5.
fn answer_nat_pmp(table: &mut Table, request: &[u8]) -> Vec<u8> {
    let mut answer = vec![0, request[1] | 0x80, 0, 0, 0, 0, 0, 9];
    match (request[0], request[1]) {
        (0, 0) => answer.extend(EXTERNAL.octets()),
        (0, 1) => {
            let lifetime = u32::from_be_bytes(number(request, 8));
            let external = table.map(u16::from_be_bytes(number(request, 4)), lifetime);
            answer.extend(&request[4..6]);
            answer.extend(external.to_be_bytes());
            answer.extend(lifetime.to_be_bytes());
        }
        // Another version.
        _ => answer[3] = 1,
    }
    answer
}

async fn route(socket: UdpSocket, dialect: Dialect, table: Arc<Mutex<Table>>) {
    let mut buffer = [0; 1100];
    while let Ok((len, from)) = socket.recv_from(&mut buffer).await {
        let answer = match dialect {
            Dialect::Pcp => answer_pcp(&mut table.lock().unwrap(), &buffer[..len]),
            Dialect::NatPmp => answer_nat_pmp(&mut table.lock().unwrap(), &buffer[..len]),
        };
        socket.send_to(&answer, from).await.unwrap();
    }
}

fn loopback() -> Option<Router> {
    Some(Router { client: Ipv4Addr::LOCALHOST, gateway: Ipv4Addr::LOCALHOST })
}

async fn is_mapped_renewed_and_given_back(dialect: Dialect) {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, ROUTER_PORT)).await.expect("one router at a time");
    let table = Arc::new(Mutex::new(Table::default()));
    let mut tasks = JoinSet::new();
    tasks.spawn(route(socket, dialect, Arc::clone(&table)));
    let (network, changes) = watch::channel(());
    let mut keeper = PortMapping::Asked(loopback).keep(INTERNAL_PORT, changes, &mut tasks);

    timeout(PATIENCE, keeper.mapped.changed()).await.expect("the router answers").unwrap();
    let expected = SocketAddr::new(EXTERNAL.into(), INTERNAL_PORT + 1_000);
    assert_eq!(*keeper.mapped.borrow(), Some(expected));
    let before = table.lock().unwrap().requests;
    network.send_replace(());
    let asked_again = async {
        while table.lock().unwrap().requests == before {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, asked_again).await.expect("a change of the network renews the mapping");
    assert_eq!(table.lock().unwrap().external.get(&INTERNAL_PORT), Some(&(INTERNAL_PORT + 1_000)));
    keeper.stop().await;
    assert!(table.lock().unwrap().external.is_empty(), "the mapping is given back");
    tasks.shutdown().await;
}

#[tokio::test]
async fn mappings_are_asked_for_renewed_and_given_back() {
    is_mapped_renewed_and_given_back(Dialect::Pcp).await;
    is_mapped_renewed_and_given_back(Dialect::NatPmp).await;
}
