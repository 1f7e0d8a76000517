use stun_rs::attributes::discovery::{OtherAddress, ResponseOrigin};
use stun_rs::attributes::stun::{MappedAddress, XorMappedAddress};
use stun_rs::{MessageDecoderBuilder, StunMessage};

use super::*;

const ID: TransactionId = [7; 12];

fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn four() -> Origins {
    Origins {
        asked: addr("192.0.2.1:3478"),
        other_port: Some(addr("192.0.2.1:3479")),
        other_ip: Some(addr("192.0.2.2:3478")),
        other: Some(addr("192.0.2.2:3479")),
    }
}

fn single() -> Origins {
    Origins { other_port: None, other_ip: None, other: None, ..four() }
}

fn ask(request: &[u8], origins: &Origins) -> (Response, Vec<u8>) {
    let mut out = [0; MAX_RESPONSE_LEN];
    let response = respond(request, addr("198.51.100.1:4000"), origins, &mut out).unwrap();
    (response, out[..response.len].to_vec())
}

fn decode(bytes: &[u8]) -> StunMessage {
    let (message, size) = MessageDecoderBuilder::default().build().decode(bytes).unwrap();
    assert_eq!(size, bytes.len());
    message
}

/// RFC 5780 §6.1, table 1.
#[test]
fn answers_leave_from_where_they_are_wanted_and_say_so() {
    let origins = four();
    for origin in [Origin::Asked, Origin::OtherPort, Origin::OtherIp, Origin::Other] {
        let (response, bytes) = ask(&request(ID, origin, None), &origins);
        assert_eq!((response.from, response.to), (origin, addr("198.51.100.1:4000")));
        let message = decode(&bytes);
        let said = message.get::<ResponseOrigin>().unwrap().as_response_origin().unwrap();
        assert_eq!(Some(*said.socket_address()), origins.addr(origin));
        let other = message.get::<OtherAddress>().unwrap().as_other_address().unwrap();
        assert_eq!(Some(*other.socket_address()), origins.other);
        let mapped = message.get::<MappedAddress>().unwrap().as_mapped_address().unwrap();
        assert_eq!(*mapped.socket_address(), response.to);
        let mapped = message.get::<XorMappedAddress>().unwrap().as_xor_mapped_address().unwrap();
        assert_eq!(*mapped.socket_address(), response.to);
        let seen = Answered::Seen { mapped: response.to, other: origins.other };
        assert_eq!(parse(&bytes, ID), Some(seen));
    }
}

/// RFC 5780 §6.1: no alternate address, no CHANGE-REQUEST and no OTHER-ADDRESS; the bare answer stays as small as it was.
#[test]
fn a_server_with_one_address_says_that_it_cannot() {
    for origin in [Origin::OtherPort, Origin::OtherIp, Origin::Other] {
        let (response, bytes) = ask(&request(ID, origin, None), &single());
        assert_eq!((response.from, parse(&bytes, ID)), (Origin::Asked, Some(Answered::Refused(420))));
    }
    let (_, bytes) = ask(&request(ID, Origin::Asked, None), &single());
    assert_eq!(bytes.len(), 32);
    let ports = Origins { other_port: four().other_port, ..single() };
    let (response, bytes) = ask(&request(ID, Origin::OtherPort, None), &ports);
    assert_eq!(response.from, Origin::OtherPort);
    assert!(matches!(parse(&bytes, ID), Some(Answered::Seen { other: None, .. })));
    let (_, bytes) = ask(&request(ID, Origin::Other, None), &ports);
    assert_eq!(parse(&bytes, ID), Some(Answered::Refused(420)));
}

/// RFC 5780 §7.5.
#[test]
fn another_port_may_be_named_but_no_other_machine_and_no_service() {
    let (response, bytes) = ask(&request(ID, Origin::Asked, Some(4001)), &single());
    assert_eq!(response.to, addr("198.51.100.1:4001"));
    let seen = Answered::Seen { mapped: addr("198.51.100.1:4000"), other: None };
    assert_eq!(parse(&bytes, ID), Some(seen));
    let (response, bytes) = ask(&request(ID, Origin::Asked, Some(53)), &single());
    assert_eq!((response.to.port(), parse(&bytes, ID)), (4000, Some(Answered::Refused(400))));
}

/// RFC 5780 §7.6, and that padding makes nobody's packets larger.
#[test]
fn padding_is_given_back_and_no_more_than_that() {
    for wanted in [0u16, 4, 100, 1200] {
        let mut bytes = request(ID, Origin::Asked, None);
        bytes.extend(PADDING.to_be_bytes());
        bytes.extend(wanted.to_be_bytes());
        bytes.extend(vec![0xff; wanted.into()]);
        let size = bytes.len();
        bytes[2..4].copy_from_slice(&u16::try_from(size - 20).unwrap().to_be_bytes());
        let (response, answer) = ask(&bytes, &four());
        assert_eq!(response.len, size.max(68), "of nothing but the four addresses unless there is room");
        assert_eq!(Message::parse(&answer).unwrap().attributes().count(), if wanted > 50 { 5 } else { 4 });
    }
    let mut both = request(ID, Origin::Asked, Some(4001));
    both.extend([0, 0x26, 0, 4, 0, 0, 0, 0]);
    both[3] += 8;
    assert_eq!(parse(&ask(&both, &four()).1, ID), Some(Answered::Refused(400)));
}

#[test]
fn what_is_malformed_is_not_answered_and_what_is_unknown_is_refused() {
    let mut out = [0; MAX_RESPONSE_LEN];
    let mut short = request(ID, Origin::Other, None);
    short[3] = 4;
    short[23] = 0;
    short.truncate(24);
    assert_eq!(respond(&short, addr("198.51.100.1:1"), &four(), &mut out), None, "no flags");
    let mut unknown = request(ID, Origin::Other, None);
    unknown.extend([0x00, 0x4f, 0, 0]);
    unknown[3] += 4;
    assert_eq!(parse(&ask(&unknown, &four()).1, ID), Some(Answered::Refused(420)));
    assert_eq!(request_id(&request(ID, Origin::Asked, None)), Some(ID));
    assert_eq!(request_id(&ask(&request(ID, Origin::Asked, None), &four()).1), None);
}

#[test]
fn both_families_fit() {
    let v6 = |n: u16| Some(SocketAddr::new("2001:db8::1".parse().unwrap(), n));
    let origins = Origins { asked: v6(1).unwrap(), other_port: v6(2), other_ip: v6(3), other: v6(4) };
    let mut out = [0; MAX_RESPONSE_LEN];
    let response = respond(&request(ID, Origin::Other, None), v6(9).unwrap(), &origins, &mut out).unwrap();
    let seen = Answered::Seen { mapped: v6(9).unwrap(), other: v6(4) };
    assert_eq!(parse(&out[..response.len], ID), Some(seen));
}
