//! RFC 5382 and what RFC 7857 changed of it. The session states have their table in `nat/tcp.rs`.

use super::*;

const HOST: &str = "192.168.1.10:5000";
const A1: &str = "203.0.113.1:1000";
const B1: &str = "203.0.113.2:1000";
const T0: Duration = Duration::ZERO;

fn leave(nat: &mut Nat, now: Duration, flags: TcpFlags, to: &str) -> Verdict {
    nat.outbound(now, Flow::tcp(flags, addr(HOST), addr(to)))
}

fn enter(nat: &mut Nat, now: Duration, flags: TcpFlags, from: &str, to: SocketAddr) -> Verdict {
    nat.inbound(now, Flow::tcp(flags, addr(from), to))
}

fn passes(verdict: Verdict) -> bool {
    matches!(verdict, Verdict::Forward(_))
}

/// Opens a connection from inside to `A1`; returns its external endpoint.
fn connect(nat: &mut Nat, now: Duration) -> SocketAddr {
    let Verdict::Forward(syn) = leave(nat, now, TcpFlags::SYN, A1) else { panic!("a SYN leaves") };
    assert!(passes(enter(nat, now, TcpFlags::SYN_ACK, A1, syn.src)));
    assert!(passes(leave(nat, now, TcpFlags::ACK, A1)));
    syn.src
}

#[test]
fn rfc5382_req1_mapping_is_endpoint_independent() {
    let mut nat = nat(Profile::eim_apdf_random());
    let external = connect(&mut nat, T0);
    let Verdict::Forward(second) = leave(&mut nat, T0, TcpFlags::SYN, B1) else { panic!("a SYN leaves") };
    assert_eq!(second.src, external);
}

#[test]
fn rfc7857_5_mappings_are_per_protocol() {
    let mut nat = nat(Profile::eim_apdf_random());
    let tcp = connect(&mut nat, T0);
    let udp = out(&mut nat, T0, HOST, A1);
    assert_ne!(tcp.port(), udp.port());
    assert_eq!(nat.mappings(), 2);
}

#[test]
fn rfc5382_req2a_simultaneous_open_passes_in_both_orders() {
    let mut nat = nat(Profile::eim_apdf_preserving());
    let Verdict::Forward(syn) = leave(&mut nat, T0, TcpFlags::SYN, A1) else { panic!("a SYN leaves") };
    assert!(passes(enter(&mut nat, T0, TcpFlags::SYN, A1, syn.src)), "their SYN crosses ours");
    assert!(passes(leave(&mut nat, T0, TcpFlags::SYN_ACK, A1)));
    assert!(passes(enter(&mut nat, T0, TcpFlags::SYN_ACK, A1, syn.src)));
    assert!(passes(enter(&mut nat, secs(7_000), TcpFlags::ACK, A1, syn.src)), "it is established");
}

#[test]
fn rfc5382_req3_filtering_follows_the_profile() {
    for (profile, strangers) in [(Profile::full_cone(), true), (Profile::eim_apdf_preserving(), false)] {
        let mut nat = nat(profile);
        let external = connect(&mut nat, T0);
        assert_eq!(passes(enter(&mut nat, T0, TcpFlags::SYN, B1, external)), strangers, "{}", profile.name);
        assert!(!passes(enter(&mut nat, T0, TcpFlags::ACK, "203.0.113.3:1", external)), "no session yet");
    }
}

#[test]
fn rfc5382_req4_an_unsolicited_syn_is_held_for_six_seconds_and_then_refused() {
    let mut nat = nat(Profile { unsolicited: Unsolicited::HoldSyn, ..Profile::eim_apdf_preserving() });
    let external = connect(&mut nat, T0);
    assert_eq!(enter(&mut nat, secs(1), TcpFlags::SYN, B1, external), Verdict::Drop(DropReason::SynHeld));
    assert_eq!(nat.next_timeout(), Some(secs(7)));
    assert_eq!(nat.take_overdue_syns(secs(6)), []);
    assert_eq!(nat.take_overdue_syns(secs(7)), [Flow::tcp(TcpFlags::SYN, addr(B1), external)]);
    assert_eq!(nat.next_timeout(), None);
}

#[test]
fn rfc5382_req4_a_held_syn_that_meets_one_from_inside_is_never_refused() {
    let mut nat = nat(Profile { unsolicited: Unsolicited::HoldSyn, ..Profile::eim_apdf_preserving() });
    let external = connect(&mut nat, T0);
    enter(&mut nat, secs(1), TcpFlags::SYN, B1, external);
    assert!(passes(leave(&mut nat, secs(2), TcpFlags::SYN, B1)));
    assert_eq!(nat.take_overdue_syns(secs(60)), []);
    assert!(passes(enter(&mut nat, secs(3), TcpFlags::SYN, B1, external)), "its repetition gets in");
}

#[test]
fn rfc5382_req4_other_reactions_to_an_unsolicited_syn() {
    let expected = [
        (Unsolicited::Drop, Verdict::Drop(DropReason::Filtered)),
        (Unsolicited::Reject, Verdict::Reject(Rejection::TcpReset)),
        (Unsolicited::KeepState, Verdict::Reject(Rejection::TcpReset)),
    ];
    for (unsolicited, verdict) in expected {
        let mut nat = nat(Profile { unsolicited, ..Profile::eim_apdf_preserving() });
        let external = connect(&mut nat, T0);
        assert_eq!(enter(&mut nat, T0, TcpFlags::SYN, B1, external), verdict);
        let reset = enter(&mut nat, T0, TcpFlags::RST, B1, external);
        assert_eq!(reset, Verdict::Drop(DropReason::Filtered), "a reset is never answered");
    }
}

#[test]
fn rfc5382_req5_an_established_session_lives_two_hours_and_four_minutes() {
    let mut nat = nat(Profile::eim_apdf_preserving());
    let external = connect(&mut nat, T0);
    assert!(passes(enter(&mut nat, secs(7_439), TcpFlags::ACK, A1, external)));
    assert!(!passes(enter(&mut nat, secs(7_439 + 7_440), TcpFlags::ACK, A1, external)));
    assert_eq!(nat.mappings(), 0);
}

#[test]
fn rfc5382_req5_a_transitory_session_lives_four_minutes() {
    let mut nat = nat(Profile::eim_apdf_preserving());
    let Verdict::Forward(syn) = leave(&mut nat, T0, TcpFlags::SYN, A1) else { panic!("a SYN leaves") };
    assert!(passes(enter(&mut nat, secs(239), TcpFlags::ACK, A1, syn.src)));
    assert!(!passes(enter(&mut nat, secs(239 + 240), TcpFlags::SYN_ACK, A1, syn.src)));
}

#[test]
fn rfc5382_req5_a_closed_session_is_transitory() {
    let mut nat = nat(Profile::eim_apdf_preserving());
    let external = connect(&mut nat, T0);
    leave(&mut nat, secs(1), TcpFlags::FIN, A1);
    assert!(passes(enter(&mut nat, secs(1_000), TcpFlags::ACK, A1, external)), "half-closed is open");
    enter(&mut nat, secs(1_000), TcpFlags::FIN, A1, external);
    assert!(!passes(enter(&mut nat, secs(1_240), TcpFlags::ACK, A1, external)));
}

#[test]
fn rfc7857_2_2_a_reset_makes_a_session_transitory_and_data_revives_it() {
    let mut nat = nat(Profile::eim_apdf_preserving());
    let external = connect(&mut nat, T0);
    enter(&mut nat, T0, TcpFlags::RST, A1, external);
    assert!(passes(leave(&mut nat, secs(239), TcpFlags::ACK, A1)));
    assert!(passes(enter(&mut nat, secs(5_000), TcpFlags::ACK, A1, external)));
    enter(&mut nat, secs(5_000), TcpFlags::RST, A1, external);
    assert!(!passes(enter(&mut nat, secs(5_240), TcpFlags::ACK, A1, external)));
}

#[test]
fn rfc5382_req8_hairpinning_shows_the_external_source() {
    let mut nat = nat(Profile::full_cone());
    let external = connect(&mut nat, T0);
    let other = addr("192.168.1.11:6000");
    let verdict = nat.outbound(T0, Flow::tcp(TcpFlags::SYN, other, external));
    let seen = addr("198.51.100.1:6000");
    assert_eq!(verdict, Verdict::Hairpin(Flow::tcp(TcpFlags::SYN, seen, addr(HOST))));
}

#[test]
fn a_segment_without_a_session_does_not_leave() {
    let mut nat = nat(Profile::eim_apdf_preserving());
    for flags in [TcpFlags::ACK, TcpFlags::FIN, TcpFlags::RST] {
        assert_eq!(leave(&mut nat, T0, flags, A1), Verdict::Drop(DropReason::NoSession));
    }
    assert_eq!(nat.mappings(), 0);
}

#[test]
fn a_web_only_firewall_passes_ports_80_and_443() {
    let mut nat = nat(Profile::web_only());
    assert!(passes(leave(&mut nat, T0, TcpFlags::SYN, "203.0.113.1:80")));
    assert!(passes(leave(&mut nat, T0, TcpFlags::SYN, "203.0.113.1:443")));
    let verdict = leave(&mut nat, T0, TcpFlags::SYN, A1);
    assert_eq!(verdict, Verdict::Drop(DropReason::PortBlocked));
    let udp = nat.outbound(T0, Flow::udp(addr(HOST), addr("203.0.113.1:443")));
    assert_eq!(udp, Verdict::Drop(DropReason::UdpBlocked));
}
