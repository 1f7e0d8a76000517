//! Against a gateway of our own on loopback: SSDP, a description, and SOAP over a table.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::super::PortMapping;
use super::*;

const EXTERNAL: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 7);
const INTERNAL_PORT: u16 = 40_002;
const PATIENCE: Duration = Duration::from_secs(20);

const ROOT: &str = r#"<?xml version="1.0"?><root xmlns="urn:schemas-upnp-org:device-1-0"><device>
<deviceType>urn:schemas-upnp-org:device:InternetGatewayDevice:1</deviceType><deviceList><device>
<deviceType>urn:schemas-upnp-org:device:WANDevice:1</deviceType><deviceList><device>
<deviceType>urn:schemas-upnp-org:device:WANConnectionDevice:1</deviceType><serviceList><service>
<serviceType>urn:schemas-upnp-org:service:WANIPConnection:1</serviceType>
<controlURL>/control</controlURL><SCPDURL>/actions</SCPDURL>
</service></serviceList></device></deviceList></device></deviceList></device></root>"#;

/// What the gateway holds: the internal port and the lease of each external one.
#[derive(Default)]
struct Table {
    mappings: BTreeMap<u16, (u16, u32)>,
    requests: usize,
    /// Knows no leases that end.
    is_permanent: bool,
}

fn actions() -> String {
    let add = "RemoteHost ExternalPort Protocol InternalPort InternalClient Enabled PortMappingDescription LeaseDuration";
    let actions = [("AddPortMapping", add), ("DeletePortMapping", "RemoteHost ExternalPort Protocol")];
    let action = |(name, arguments): (&str, &str)| {
        let argument = |name| format!("<argument><name>New{name}</name><direction>in</direction></argument>");
        let arguments: String = arguments.split(' ').map(argument).collect();
        format!("<action><name>{name}</name><argumentList>{arguments}</argumentList></action>")
    };
    let actions: String = actions.into_iter().map(action).collect();
    format!("<?xml version=\"1.0\"?><scpd><actionList>{actions}</actionList></scpd>")
}

fn value<'a>(body: &'a str, name: &str) -> &'a str {
    let after = body.split_once(&format!("<{name}>")).map_or("", |(_, after)| after);
    after.split_once("</").map_or("", |(value, _)| value)
}

/// What is answered to a SOAP request: the action's response, or an error by its number.
fn act(table: &mut Table, body: &str) -> String {
    let envelope = |inner: &str| {
        format!(
            "<?xml version=\"1.0\"?><s:Envelope xmlns:s=\"http://schemas.xmlsoap.org/soap/envelope/\">\
             <s:Body>{inner}</s:Body></s:Envelope>"
        )
    };
    let done = |action: &str, inner: &str| {
        let urn = "urn:schemas-upnp-org:service:WANIPConnection:1";
        envelope(&format!("<u:{action}Response xmlns:u=\"{urn}\">{inner}</u:{action}Response>"))
    };
    let fault = |code: u16| {
        envelope(&format!(
            "<s:Fault><faultcode>s:Client</faultcode><faultstring>UPnPError</faultstring><detail>\
             <UPnPError xmlns=\"urn:schemas-upnp-org:control-1-0\"><errorCode>{code}</errorCode>\
             <errorDescription>no</errorDescription></UPnPError></detail></s:Fault>"
        ))
    };
    let port = value(body, "NewExternalPort").parse().unwrap_or(0);
    if body.contains("#GetExternalIPAddress") {
        return done(
            "GetExternalIPAddress",
            &format!("<NewExternalIPAddress>{EXTERNAL}</NewExternalIPAddress>"),
        );
    }
    table.requests += 1;
    if body.contains("#DeletePortMapping") {
        table.mappings.remove(&port);
        return done("DeletePortMapping", "");
    }
    let lease = value(body, "NewLeaseDuration").parse().unwrap();
    let internal = value(body, "NewInternalPort").parse().unwrap();
    assert_eq!((value(body, "NewProtocol"), value(body, "NewInternalClient")), ("UDP", "127.0.0.1"));
    if table.is_permanent && lease != 0 {
        return fault(725);
    }
    // Somebody else has the same port.
    if table.mappings.get(&port).is_some_and(|(known, _)| *known != internal) {
        return fault(718);
    }
    table.mappings.insert(port, (internal, lease));
    done("AddPortMapping", "")
}

async fn answer_searches(socket: UdpSocket, web: SocketAddr) {
    let mut buffer = [0; 2_000];
    while let Ok((len, from)) = socket.recv_from(&mut buffer).await {
        assert!(buffer[..len].starts_with(b"M-SEARCH * HTTP/1.1\r\n"));
        let answer = format!("HTTP/1.1 200 OK\r\nLOCATION: http://{web}/root.xml\r\n\r\n");
        socket.send_to(answer.as_bytes(), from).await.unwrap();
    }
}

async fn answer_requests(listener: TcpListener, table: Arc<Mutex<Table>>) {
    loop {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = String::new();
        loop {
            let mut buffer = [0; 4_000];
            let Ok(len) = stream.read(&mut buffer).await else { break };
            request += &String::from_utf8_lossy(&buffer[..len]);
            let is_whole = request.starts_with("GET") || request.contains("Envelope>");
            if len == 0 || (request.contains("\r\n\r\n") && is_whole) {
                break;
            }
        }
        let body = match request.split(' ').nth(1) {
            Some("/root.xml") => ROOT.to_owned(),
            Some("/actions") => actions(),
            _ => act(&mut table.lock().unwrap(), &request),
        };
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
        // Whoever asked may have gone.
        let _ = stream.write_all((head + &body).as_bytes()).await;
    }
}

/// An address on which nobody else's test has a router.
const GATEWAY: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

fn loopback() -> Option<Router> {
    Some(Router { client: Ipv4Addr::LOCALHOST, gateway: GATEWAY })
}

/// A router at `ip` that has this table.
async fn start_gateway(ip: Ipv4Addr, table: Table, tasks: &mut JoinSet<()>) -> Arc<Mutex<Table>> {
    let socket = UdpSocket::bind((ip, SSDP_PORT)).await.expect("one gateway at a time");
    let listener = TcpListener::bind((ip, 0)).await.unwrap();
    tasks.spawn(answer_searches(socket, listener.local_addr().unwrap()));
    let table = Arc::new(Mutex::new(table));
    tasks.spawn(answer_requests(listener, Arc::clone(&table)));
    table
}

/// A router that knows neither PCP nor NAT-PMP gives the `expected` port by UPnP, renews it, and gets it back.
async fn is_mapped_renewed_and_given_back(table: Table, expected: impl Fn(u16) -> bool, lease: u32) {
    let others = table.mappings.clone();
    let mut tasks = JoinSet::new();
    let table = start_gateway(GATEWAY, table, &mut tasks).await;
    let (network, changes) = watch::channel(());
    let mut keeper = PortMapping::Asked(loopback).keep(INTERNAL_PORT, changes, &mut tasks);

    timeout(PATIENCE, keeper.mapped.changed()).await.expect("the gateway answers").unwrap();
    let endpoint = keeper.mapped.borrow().unwrap();
    assert!(endpoint.ip() == IpAddr::V4(EXTERNAL) && expected(endpoint.port()), "{endpoint}");
    assert_eq!(table.lock().unwrap().mappings[&endpoint.port()], (INTERNAL_PORT, lease));
    let before = table.lock().unwrap().requests;
    network.send_replace(());
    let asked_again = async {
        while table.lock().unwrap().requests == before {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, asked_again).await.expect("a change of the network renews the mapping");
    keeper.stop().await;
    assert_eq!(table.lock().unwrap().mappings, others, "the mapping is given back");
    tasks.shutdown().await;
}

#[tokio::test]
async fn mappings_by_upnp_are_renewed_and_given_back() {
    is_mapped_renewed_and_given_back(Table::default(), |port| port == INTERNAL_PORT, LIFETIME_S).await;
    let permanent = Table { is_permanent: true, ..Table::default() };
    is_mapped_renewed_and_given_back(permanent, |port| port == INTERNAL_PORT, 0).await;
    let taken = Table { mappings: BTreeMap::from([(INTERNAL_PORT, (1, 0))]), ..Table::default() };
    is_mapped_renewed_and_given_back(taken, |port| port != INTERNAL_PORT, LIFETIME_S).await;
}

/// What `client netcheck` does.
#[tokio::test]
async fn a_look_at_the_router_leaves_nothing_behind() {
    let gateway = Ipv4Addr::new(127, 0, 0, 3);
    let mut tasks = JoinSet::new();
    let table = start_gateway(gateway, Table::default(), &mut tasks).await;
    let router = Router { client: Ipv4Addr::LOCALHOST, gateway };
    let port = NonZeroU16::new(INTERNAL_PORT).unwrap();
    assert_eq!(probe(router, port).await, Ok(IpAddr::V4(EXTERNAL)));
    let table = table.lock().unwrap();
    assert_eq!((table.requests, table.mappings.len()), (2, 0), "asked for and given back");
}

#[tokio::test]
async fn a_machine_that_is_not_the_gateway_is_left_alone() {
    let gateway = Ipv4Addr::new(127, 0, 0, 9);
    let socket = UdpSocket::bind((gateway, SSDP_PORT)).await.unwrap();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let mut tasks = JoinSet::new();
    // Answers in the gateway's name, but names another machine.
    tasks.spawn(answer_searches(socket, listener.local_addr().unwrap()));
    let router = Router { client: Ipv4Addr::LOCALHOST, gateway };
    assert!(find(router).await.is_none());
    let asked = timeout(Duration::from_millis(50), listener.accept()).await;
    assert!(asked.is_err(), "nothing is asked of it");
}
