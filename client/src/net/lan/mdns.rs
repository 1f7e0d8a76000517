//! The way to the network: `mdns-sd`, whose daemon is a thread of its own.

use std::net::IpAddr;
use std::time::Duration;

use mdns_sd::{IfKind, ServiceDaemon, ServiceEvent, ServiceInfo};
use tokio::sync::{oneshot, watch};
use tracing::{debug, warn};

use super::{Announcement, Neighbour, Neighbours, SERVICE, read};

/// How long taking leave may take.
pub(super) const FAREWELL: Duration = Duration::from_millis(300);

/// Ends its thread when it is dropped.
struct Daemon(ServiceDaemon);

impl Drop for Daemon {
    fn drop(&mut self) {
        // It is gone already, or will be with the process.
        let _ = self.0.shutdown();
    }
}

/// Publishes who is near until it is told to end, and announces this client for as long as that is wanted.
pub(super) async fn run(
    announcement: Announcement,
    interfaces: fn() -> Vec<IpAddr>,
    near: watch::Sender<Vec<Neighbour>>,
    mut announced: watch::Receiver<bool>,
    stopped: oneshot::Receiver<()>,
) {
    tokio::select! {
        result = browse(announcement, interfaces, &near, &mut announced) => {
            if let Err(error) = result {
                warn!(%error, "neighbours are not looked for");
            }
            // Nobody is told that it is over: the list stays as it is.
            near.closed().await;
        }
        _ = stopped => {}
    }
}

async fn browse(
    announcement: Announcement,
    interfaces: fn() -> Vec<IpAddr>,
    near: &watch::Sender<Vec<Neighbour>>,
    announced: &mut watch::Receiver<bool>,
) -> mdns_sd::Result<()> {
    let daemon = Daemon(ServiceDaemon::new()?);
    daemon.0.disable_interface(vec![IfKind::LoopbackV4, IfKind::LoopbackV6])?;
    let events = daemon.0.browse(SERVICE)?;
    let mut neighbours = Neighbours::default();
    let mut is_announced = false;
    announced.mark_changed();
    loop {
        tokio::select! {
            event = events.recv_async() => match event {
                Ok(event) => {
                    if handle(&mut neighbours, &announcement, interfaces, event) {
                        near.send_replace(neighbours.list());
                    }
                }
                Err(_) => return Err(mdns_sd::Error::Msg("the mDNS thread has ended".to_owned())),
            },
            Ok(()) = announced.changed() => {
                let service = service(&announcement)?;
                match (is_announced, *announced.borrow_and_update()) {
                    (false, true) => daemon.0.register(service)?,
                    (true, false) => drop(daemon.0.unregister(service.get_fullname())?),
                    (true, true) | (false, false) => {}
                }
                is_announced = *announced.borrow();
            }
        }
    }
}

fn service(announcement: &Announcement) -> mdns_sd::Result<ServiceInfo> {
    let name = announcement.me.to_string();
    let host = format!("hobnob-{:016x}.local.", announcement.instance.0);
    let txt = announcement.txt();
    Ok(ServiceInfo::new(SERVICE, &name, &host, "", announcement.port, &txt[..])?.enable_addr_auto())
}

/// Returns whether the list has changed.
fn handle(
    neighbours: &mut Neighbours,
    announcement: &Announcement,
    interfaces: fn() -> Vec<IpAddr>,
    event: ServiceEvent,
) -> bool {
    match event {
        ServiceEvent::ServiceResolved(service) => {
            let value = |key: &str| service.get_property_val_str(key);
            let ips = service.addresses.iter().map(mdns_sd::ScopedIp::to_ip_addr);
            let neighbour = read(value, service.port, ips, &interfaces());
            debug!(is_understood = neighbour.is_some(), "somebody is near");
            neighbours.handle_seen(announcement.me, &service.fullname, neighbour)
        }
        ServiceEvent::ServiceRemoved(_, name) => neighbours.handle_gone(&name),
        _ => false,
    }
}
