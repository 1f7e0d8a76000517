//! RFC 4787 and what RFC 7857 changed of it.

use super::*;

const HOST: &str = "192.168.1.10:5000";
const OTHER_HOST: &str = "192.168.1.11:5000";
const A1: &str = "203.0.113.1:1000";
const A2: &str = "203.0.113.1:2000";
const B1: &str = "203.0.113.2:1000";
const T0: Duration = Duration::ZERO;

#[test]
fn rfc4787_req1_endpoint_independent_mapping_is_one_for_all_remotes() {
    let mut nat = nat(Profile::eim_apdf_random());
    let first = out(&mut nat, T0, HOST, A1);
    assert_eq!(out(&mut nat, T0, HOST, A2), first);
    assert_eq!(out(&mut nat, T0, HOST, B1), first);
    assert_eq!(nat.mappings(), 1);
}

#[test]
fn rfc4787_4_1_address_dependent_mapping_is_one_per_remote_address() {
    let mut nat = nat(Profile::adm_apdf());
    let first = out(&mut nat, T0, HOST, A1);
    assert_eq!(out(&mut nat, T0, HOST, A2), first);
    assert_ne!(out(&mut nat, T0, HOST, B1), first);
}

#[test]
fn rfc4787_4_1_address_and_port_dependent_mapping_is_one_per_remote_endpoint() {
    let mut nat = nat(Profile::symmetric_random());
    let first = out(&mut nat, T0, HOST, A1);
    assert_ne!(out(&mut nat, T0, HOST, A2), first);
    assert_ne!(out(&mut nat, T0, HOST, B1), first);
    assert_eq!(out(&mut nat, T0, HOST, A1), first);
    assert_eq!(nat.mappings(), 3);
}

#[test]
fn rfc4787_req2_paired_pooling_keeps_one_public_address_per_host() {
    let pool: Vec<IpAddr> = (1..=8).map(|n| IpAddr::from([198, 51, 100, n])).collect();
    let addresses = |pooling| {
        let mut nat = Nat::new(Profile { pooling, ..Profile::symmetric_random() }, pool.clone(), SEED);
        let sent = (1..100).map(|n| out(&mut nat, T0, HOST, &format!("203.0.113.9:{n}")).ip());
        sent.collect::<BTreeSet<_>>().len()
    };
    assert_eq!(addresses(Pooling::Paired), 1);
    assert!(addresses(Pooling::Arbitrary) > 1);
}

#[test]
fn a_flow_is_translated_within_its_address_family() {
    let mut nat = Nat::new(Profile::eim_adf(), vec![ip("198.51.100.1"), ip("2001:db8::1")], SEED);
    assert!(out(&mut nat, T0, HOST, A1).is_ipv4());
    assert_eq!(out(&mut nat, T0, "[fd00::1]:5000", "[2001:db8::9]:1"), addr("[2001:db8::1]:5000"));
    nat.set_public_ips(vec![ip("198.51.100.1")]);
    let verdict = nat.outbound(T0, Flow::udp(addr("[fd00::1]:5000"), addr("[2001:db8::9]:1")));
    assert_eq!(verdict, Verdict::Drop(DropReason::NoAddress));
}

#[test]
fn rfc4787_req3_port_preservation_never_overloads() {
    let mut nat = nat(Profile::eim_apdf_preserving());
    assert_eq!(out(&mut nat, T0, HOST, A1).port(), 5000);
    let second = out(&mut nat, T0, OTHER_HOST, A1);
    assert_ne!(second.port(), 5000);
    assert!(second.port() >= 1024);
}

#[test]
fn rfc4787_req3a_well_known_ports_stay_well_known() {
    let mut nat = nat(Profile::eim_apdf_random());
    for n in 1..50 {
        assert!(out(&mut nat, T0, &format!("192.168.1.10:{n}"), A1).port() < 1024);
        assert!(out(&mut nat, T0, &format!("192.168.1.10:{}", 1023 + n), A1).port() >= 1024);
    }
}

#[test]
fn rfc4787_req4_port_parity_is_kept() {
    let mut nat = nat(Profile { allocation: Allocation::Parity, ..Profile::eim_adf() });
    for port in 40_000..40_100 {
        let external = out(&mut nat, T0, &format!("192.168.1.10:{port}"), A1);
        assert_eq!(external.port() % 2, port % 2);
    }
}

#[test]
fn sequential_allocation_steps_from_the_last_port() {
    let mut nat =
        nat(Profile { allocation: Allocation::Sequential { step: 2 }, ..Profile::symmetric_sequential() });
    let ports: Vec<u16> =
        (1..10).map(|n| out(&mut nat, T0, HOST, &format!("203.0.113.9:{n}")).port()).collect();
    assert!(ports.windows(2).all(|pair| pair[1].wrapping_sub(pair[0]) == 2), "{ports:?}");
}

#[test]
fn rfc7422_block_allocation_stays_in_one_block_per_host_and_blocks_do_not_overlap() {
    const SIZE: u16 = 512;
    let mut nat = nat(Profile::symmetric_block(SIZE));
    let mut ports_of = |host: &str| -> (u16, u16) {
        let ports: BTreeSet<u16> =
            (1..200).map(|n| out(&mut nat, T0, host, &format!("203.0.113.9:{n}")).port()).collect();
        (*ports.first().unwrap(), *ports.last().unwrap())
    };
    let (first, second) = (ports_of(HOST), ports_of(OTHER_HOST));
    assert!(first.1 - first.0 < SIZE && second.1 - second.0 < SIZE, "{first:?} {second:?}");
    assert!(first.1 < second.0 || second.1 < first.0, "{first:?} {second:?}");
}

#[test]
fn rfc7422_a_used_up_block_gives_no_more_ports() {
    let mut nat = nat(Profile::symmetric_block(16));
    for n in 1..=16 {
        out(&mut nat, T0, HOST, &format!("203.0.113.9:{n}"));
    }
    let verdict = nat.outbound(T0, Flow::udp(addr(HOST), addr("203.0.113.9:17")));
    assert_eq!(verdict, Verdict::Drop(DropReason::NoPort));
    out(&mut nat, T0, OTHER_HOST, "203.0.113.9:17");
}

#[test]
fn rfc4787_req5_a_mapping_dies_when_idle_for_its_lifetime() {
    let mut nat = nat(Profile::full_cone());
    let external = out(&mut nat, T0, HOST, A1);
    assert_eq!(back(&mut nat, secs(119), A1, external), delivered(A1, HOST));
    assert_eq!(back(&mut nat, secs(120), A1, external), Verdict::Drop(DropReason::NoMapping));
    assert_eq!(nat.mappings(), 0);
}

#[test]
fn rfc4787_req6_outbound_packets_refresh() {
    let mut nat = nat(Profile::full_cone());
    let external = out(&mut nat, T0, HOST, A1);
    out(&mut nat, secs(100), HOST, A1);
    assert_eq!(back(&mut nat, secs(200), A1, external), delivered(A1, HOST));
}

#[test]
fn rfc4787_req6_without_outbound_refresh_a_mapping_dies_in_use() {
    let mut nat = nat(Profile { outbound_refresh: false, ..Profile::eim_apdf_random() });
    let external = out(&mut nat, T0, HOST, A1);
    for n in 1..12 {
        assert_eq!(out(&mut nat, secs(n * 10), HOST, A1), external);
    }
    assert_ne!(out(&mut nat, secs(120), HOST, A1), external);
}

#[test]
fn rfc4787_req6a_inbound_packets_refresh_only_if_so_configured() {
    for (inbound_refresh, alive) in [(true, true), (false, false)] {
        let mut nat = nat(Profile { inbound_refresh, ..Profile::eim_apdf_preserving() });
        let external = out(&mut nat, T0, HOST, A1);
        back(&mut nat, secs(100), A1, external);
        assert_eq!(back(&mut nat, secs(200), A1, external) == delivered(A1, HOST), alive);
    }
}

#[test]
fn an_absolute_lifetime_ends_even_a_busy_mapping() {
    let mut nat = nat(Profile { absolute_lifetime: Some(secs(300)), ..Profile::eim_apdf_random() });
    let external = out(&mut nat, T0, HOST, A1);
    for n in 1..30 {
        assert_eq!(out(&mut nat, secs(n * 10), HOST, A1), external);
    }
    assert_ne!(out(&mut nat, secs(300), HOST, A1), external);
}

#[test]
fn rfc4787_req8_endpoint_independent_filtering_lets_anybody_in() {
    let mut nat = nat(Profile::full_cone());
    let external = out(&mut nat, T0, HOST, A1);
    assert_eq!(back(&mut nat, T0, B1, external), delivered(B1, HOST));
}

#[test]
fn rfc4787_req8_address_dependent_filtering_lets_in_who_was_sent_to_from_any_port() {
    let mut nat = nat(Profile::eim_adf());
    let external = out(&mut nat, T0, HOST, A1);
    assert_eq!(back(&mut nat, T0, A2, external), delivered(A2, HOST));
    assert_eq!(back(&mut nat, T0, B1, external), Verdict::Drop(DropReason::Filtered));
}

#[test]
fn rfc4787_5_address_and_port_dependent_filtering_lets_in_only_endpoints_sent_to() {
    let mut nat = nat(Profile::eim_apdf_preserving());
    let external = out(&mut nat, T0, HOST, A1);
    assert_eq!(back(&mut nat, T0, A1, external), delivered(A1, HOST));
    assert_eq!(back(&mut nat, T0, A2, external), Verdict::Drop(DropReason::Filtered));
    out(&mut nat, T0, HOST, A2);
    assert_eq!(back(&mut nat, T0, A2, external), delivered(A2, HOST));
}

#[test]
fn a_permission_of_the_filter_ends_before_a_mapping_kept_alive_by_others() {
    let mut nat = nat(Profile::eim_apdf_preserving());
    let external = out(&mut nat, T0, HOST, A1);
    for n in 1..=15 {
        out(&mut nat, secs(n * 10), HOST, B1);
    }
    assert_eq!(back(&mut nat, secs(150), A1, external), Verdict::Drop(DropReason::Filtered));
    assert_eq!(back(&mut nat, secs(150), B1, external), delivered(B1, HOST));
}

#[test]
fn rfc4787_req9_hairpinning_shows_the_external_source() {
    let mut nat = nat(Profile::eim_apdf_preserving());
    let first = out(&mut nat, T0, HOST, A1);
    let second = out(&mut nat, T0, OTHER_HOST, A1);
    let towards_second = Flow::udp(addr(HOST), second);
    assert_eq!(nat.outbound(T0, towards_second), Verdict::Drop(DropReason::Filtered));
    let back = nat.outbound(T0, Flow::udp(addr(OTHER_HOST), first));
    assert_eq!(back, Verdict::Hairpin(Flow::udp(second, addr(HOST))));
    assert_eq!(nat.outbound(T0, towards_second), Verdict::Hairpin(Flow::udp(first, addr(OTHER_HOST))));
}

#[test]
fn rfc4787_req9_a_nat_without_hairpinning_drops() {
    let mut nat = nat(Profile { hairpin: false, ..Profile::full_cone() });
    let external = out(&mut nat, T0, HOST, A1);
    let verdict = nat.outbound(T0, Flow::udp(addr(OTHER_HOST), external));
    assert_eq!(verdict, Verdict::Drop(DropReason::NoHairpin));
}

/// RFC 4787 REQ-11: what a NAT does depends on nothing but what it saw.
#[test]
fn rfc4787_req11_the_same_calls_give_the_same_ports() {
    let run = |seed| -> Vec<u16> {
        let mut nat = Nat::new(Profile::symmetric_random(), vec![ip("198.51.100.1")], seed);
        (1..100).map(|n| out(&mut nat, T0, HOST, &format!("203.0.113.9:{n}")).port()).collect()
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
}

#[test]
fn a_full_table_drops_newcomers_and_keeps_the_rest() {
    let mut nat = nat(Profile { max_mappings: 2, ..Profile::eim_apdf_preserving() });
    let external = out(&mut nat, T0, HOST, A1);
    out(&mut nat, T0, OTHER_HOST, A1);
    let third = Flow::udp(addr("192.168.1.12:5000"), addr(A1));
    assert_eq!(nat.outbound(T0, third), Verdict::Drop(DropReason::TableFull));
    assert_eq!(out(&mut nat, T0, HOST, B1), external);
    assert!(matches!(nat.outbound(secs(120), third), Verdict::Forward(_)), "the dead make room");
}

#[test]
fn a_full_session_table_drops_new_remotes() {
    let mut nat = nat(Profile { max_sessions: 2, ..Profile::eim_apdf_preserving() });
    out(&mut nat, T0, HOST, A1);
    out(&mut nat, T0, HOST, A2);
    let verdict = nat.outbound(T0, Flow::udp(addr(HOST), addr(B1)));
    assert_eq!(verdict, Verdict::Drop(DropReason::TableFull));
    out(&mut nat, T0, HOST, A1);
    out(&mut nat, secs(121), HOST, B1);
}

/// Found by random traffic: the mapping of a packet dropped for want of a session used to stay behind, and let
/// strangers in.
#[test]
fn a_flow_that_finds_the_session_table_full_leaves_no_mapping() {
    let mut nat = nat(Profile { max_sessions: 1, ..Profile::full_cone() });
    out(&mut nat, T0, HOST, A1);
    let dropped = nat.outbound(T0, Flow::udp(addr("192.168.1.11:6000"), addr(A1)));
    assert_eq!(dropped, Verdict::Drop(DropReason::TableFull));
    let inside = back(&mut nat, T0, A1, addr("198.51.100.1:6000"));
    assert_eq!(inside, Verdict::Drop(DropReason::NoMapping));
    assert_eq!(nat.mappings(), 1);
}

#[test]
fn unsolicited_packets_are_dropped_or_refused() {
    let stranger = Flow::udp(addr(B1), addr("198.51.100.1:4000"));
    assert_eq!(nat(Profile::eim_adf()).inbound(T0, stranger), Verdict::Drop(DropReason::NoMapping));
    let mut refusing = nat(Profile { unsolicited: Unsolicited::Reject, ..Profile::eim_adf() });
    assert_eq!(refusing.inbound(T0, stranger), Verdict::Reject(Rejection::PortUnreachable));
    let elsewhere = Flow::udp(addr(B1), addr("198.51.100.2:4000"));
    assert_eq!(refusing.inbound(T0, elsewhere), Verdict::Drop(DropReason::NotOurs));
}

/// What Linux does to a hole punched too late: the tuple is taken, so the mapping gets another port.
#[test]
fn kept_state_of_a_refused_packet_costs_the_preserved_port() {
    let mut nat = nat(Profile::linux());
    let external = out(&mut nat, T0, HOST, A1);
    assert_eq!(back(&mut nat, T0, B1, external), Verdict::Reject(Rejection::PortUnreachable));
    let spoilt = out(&mut nat, secs(1), HOST, B1);
    assert_ne!(spoilt, external);
    assert_eq!(out(&mut nat, secs(2), HOST, B1), spoilt, "the flow keeps its own port");
    assert_eq!(out(&mut nat, secs(2), HOST, A1), external, "other flows are not touched");
    assert_eq!(back(&mut nat, secs(2), B1, spoilt), delivered(B1, HOST));
}

#[test]
fn kept_state_is_forgotten_and_does_no_harm_to_who_sends_first() {
    let mut nat = nat(Profile::linux());
    let external = out(&mut nat, T0, HOST, A1);
    back(&mut nat, T0, B1, external);
    out(&mut nat, REFUSED_LIFETIME, HOST, A1);
    assert_eq!(out(&mut nat, REFUSED_LIFETIME, HOST, B1), external);
    assert_eq!(back(&mut nat, REFUSED_LIFETIME, B1, external), delivered(B1, HOST));
}

#[test]
fn blocked_udp_passes_neither_way() {
    let mut nat = nat(Profile::eim_adf());
    let external = out(&mut nat, T0, HOST, A1);
    nat.set_profile(Profile { udp: false, ..*nat.profile() });
    let leaving = nat.outbound(T0, Flow::udp(addr(HOST), addr(A1)));
    assert_eq!(leaving, Verdict::Drop(DropReason::UdpBlocked));
    assert_eq!(back(&mut nat, T0, A1, external), Verdict::Drop(DropReason::UdpBlocked));
}

#[test]
fn a_rebind_forgets_and_takes_other_ports_even_when_preserving() {
    for profile in [Profile::eim_apdf_preserving(), Profile::symmetric_sequential(), Profile::cgnat()] {
        let mut nat = nat(profile);
        let before = out(&mut nat, T0, HOST, A1);
        nat.rebind();
        assert_eq!(back(&mut nat, T0, A1, before), Verdict::Drop(DropReason::NoMapping));
        assert_ne!(out(&mut nat, T0, HOST, A1), before, "{}", profile.name);
    }
}

#[test]
fn a_new_public_address_ends_the_mappings_on_the_old_one() {
    let mut nat = nat(Profile::eim_apdf_preserving());
    let before = out(&mut nat, T0, HOST, A1);
    nat.set_public_ips(vec![ip("198.51.100.77")]);
    assert_eq!(back(&mut nat, T0, A1, before), Verdict::Drop(DropReason::NotOurs));
    assert_eq!(out(&mut nat, T0, HOST, A1), addr("198.51.100.77:5000"));
}
