//! STUN against the vectors of RFC 5769 and against the library that the checks use.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::SocketAddr;

use common::stun::binding::{MAX_RESPONSE_LEN, TransactionId, parse_response, request, respond};
use proptest::prelude::*;
use stun_rs::attributes::stun::{
    ErrorCode, Fingerprint, MessageIntegrity, Software, UnknownAttributes, UserName, XorMappedAddress,
};
use stun_rs::methods::BINDING;
use stun_rs::{
    DecoderContextBuilder, HMACKey, MessageClass, MessageDecoderBuilder, MessageEncoderBuilder, StunMessage,
    StunMessageBuilder,
};

const ID: TransactionId = [0xb7, 0xe7, 0xa7, 0x01, 0xbc, 0x34, 0xd6, 0x86, 0xfa, 0x87, 0xdf, 0xae];
const PASSWORD: &str = "VOkJxbRl1RmTxUk/WvJxBt";

/// RFC 5769 §2.1.
const REQUEST: &str = "000100582112a442b7e7a701bc34d686fa87dfae\
    802200105354554e207465737420636c69656e74\
    002400046e0001ff80290008932ff9b151263b36\
    000600096576746a3a68367659202020\
    000800149aeaa70cbfd8cb56781ef2b5b2d3f249c1b571a2\
    80280004e57a3bcf";
/// RFC 5769 §2.2.
const RESPONSE_V4: &str = "0101003c2112a442b7e7a701bc34d686fa87dfae\
    8022000b7465737420766563746f7220\
    002000080001a147e112a643\
    000800142b91f599fd9e90c38c7489f92af9ba53f06be7d7\
    80280004c07d4c96";
/// RFC 5769 §2.3.
const RESPONSE_V6: &str = "010100482112a442b7e7a701bc34d686fa87dfae\
    8022000b7465737420766563746f7220\
    002000140002a1470113a9faa5d3f179bc25f4b5bed2b9d9\
    00080014a382954e4be67bf11784c97c8292c275bfe3ed41\
    80280004c8fb0b4c";

fn hex(text: &str) -> Vec<u8> {
    data_encoding::HEXLOWER.decode(text.as_bytes()).unwrap()
}

fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn answer(request: &[u8], from: &str) -> Option<Vec<u8>> {
    let mut out = [0; MAX_RESPONSE_LEN];
    respond(request, addr(from), &mut out).map(|len| out[..len].to_vec())
}

/// Decodes with everything checked that can be, and in whole.
fn decode(bytes: &[u8]) -> StunMessage {
    let context = DecoderContextBuilder::default()
        .with_key(HMACKey::new_short_term(PASSWORD).unwrap())
        .with_validation()
        .build();
    let decoder = MessageDecoderBuilder::default().with_context(context).build();
    let (message, size) = decoder.decode(bytes).unwrap();
    assert_eq!(size, bytes.len());
    message
}

fn encode(builder: StunMessageBuilder) -> Vec<u8> {
    let mut out = [0; 512];
    let len = MessageEncoderBuilder::default().build().encode(&mut out, &builder.build()).unwrap();
    out[..len].to_vec()
}

fn builder() -> StunMessageBuilder {
    StunMessageBuilder::new(BINDING, MessageClass::Request).with_transaction_id(ID.into())
}

/// Appends an attribute and corrects the length.
fn with_attribute(mut message: Vec<u8>, kind: u16, value: &[u8]) -> Vec<u8> {
    message.extend_from_slice(&kind.to_be_bytes());
    message.extend_from_slice(&u16::try_from(value.len()).unwrap().to_be_bytes());
    message.extend_from_slice(value);
    message.resize(message.len().next_multiple_of(4), 0);
    let len = u16::try_from(message.len() - 20).unwrap();
    message[2..4].copy_from_slice(&len.to_be_bytes());
    message
}

/// RFC 5769 §2.1: the keys are the library's business, and we rely on it for the checks between peers.
#[test]
fn sample_request() {
    let message = decode(&hex(REQUEST));
    assert_eq!(message.get::<UserName>().unwrap().as_user_name().unwrap().as_str(), "evtj:h6vY");
    assert!(message.get::<MessageIntegrity>().is_some() && message.get::<Fingerprint>().is_some());
    // A plain server does not know ICE's PRIORITY.
    let refused = decode(&answer(&hex(REQUEST), "192.0.2.1:32853").unwrap());
    assert_eq!(
        refused.get::<UnknownAttributes>().unwrap().as_unknown_attributes().unwrap().attributes(),
        [0x24]
    );
    assert!(refused.get::<Fingerprint>().is_some());
}

/// RFC 5769 §2.2 and §2.3.
#[test]
fn sample_responses() {
    for (text, mapped) in
        [(RESPONSE_V4, "192.0.2.1:32853"), (RESPONSE_V6, "[2001:db8:1234:5678:11:2233:4455:6677]:32853")]
    {
        let bytes = hex(text);
        let message = decode(&bytes);
        let by_library = message.get::<XorMappedAddress>().unwrap().as_xor_mapped_address().unwrap();
        assert_eq!(*by_library.socket_address(), addr(mapped));
        assert_eq!(parse_response(&bytes, ID), Some(addr(mapped)));
        assert_eq!(parse_response(&bytes, [0; 12]), None, "another transaction");
        let mut damaged = bytes.clone();
        damaged[30] ^= 1;
        assert_eq!(parse_response(&damaged, ID), None, "wrong FINGERPRINT");
        assert_eq!(parse_response(&bytes[..bytes.len() - 4], ID), None);
        assert_eq!(answer(&bytes, mapped), None, "a response is not answered");
    }
}

/// RFC 8489 §14.2.
#[test]
fn bare_requests_are_answered_in_either_family() {
    for (from, seen, len) in [
        ("192.0.2.1:32853", "192.0.2.1:32853", 32),
        ("[::ffff:192.0.2.1]:32853", "192.0.2.1:32853", 32),
        ("[2001:db8::1]:9", "[2001:db8::1]:9", 44),
    ] {
        let response = answer(&request(ID), from).unwrap();
        assert_eq!(response.len(), len);
        assert_eq!(parse_response(&response, ID), Some(addr(seen)));
        let message = decode(&response);
        let mapped = message.get::<XorMappedAddress>().unwrap().as_xor_mapped_address().unwrap();
        assert_eq!((*mapped.socket_address(), message.attributes().len()), (addr(seen), 1));
    }
    assert_eq!(respond(&request(ID), addr("192.0.2.1:1"), &mut [0; 31]), None, "no room");
}

/// RFC 8489 §14.7.
#[test]
fn a_fingerprint_is_checked_and_returned() {
    let asked = encode(
        builder().with_attribute(Software::new("a client").unwrap()).with_attribute(Fingerprint::default()),
    );
    let response = answer(&asked, "[2001:db8::1]:9").unwrap();
    assert!(decode(&response).get::<Fingerprint>().is_some());
    // But for the type of the FINGERPRINT itself, which would make it another attribute.
    for byte in (8..asked.len()).filter(|byte| ![32, 33].contains(byte)) {
        let mut damaged = asked.clone();
        damaged[byte] ^= 0x80;
        assert_eq!(answer(&damaged, "192.0.2.1:1"), None, "byte {byte}");
    }
    assert_eq!(answer(&with_attribute(asked, 0x8022, b"more"), "192.0.2.1:1"), None, "not the last");
}

/// RFC 8489 §6.3.1.
#[test]
fn unknown_attributes_are_named() {
    let bare = request(ID).to_vec();
    let odd = with_attribute(with_attribute(bare.clone(), 0x7ff0, b"x"), 0xfff0, b"may be ignored");
    let message = decode(&answer(&odd, "192.0.2.1:1").unwrap());
    assert_eq!(message.class(), MessageClass::ErrorResponse);
    assert_eq!(message.get::<ErrorCode>().unwrap().as_error_code().unwrap().error_code().error_code(), 420);
    assert_eq!(
        message.get::<UnknownAttributes>().unwrap().as_unknown_attributes().unwrap().attributes(),
        [0x7ff0]
    );

    assert_eq!(answer(&with_attribute(bare.clone(), 0xfff0, b"?"), "192.0.2.1:1").unwrap().len(), 32);
    let many = (0..60).fold(bare, |message, i| with_attribute(message, 0x7f00 + i, &[]));
    let refused = answer(&many, "192.0.2.1:1").unwrap();
    assert!(refused.len() <= many.len() && refused.len() <= MAX_RESPONSE_LEN);

    let key = HMACKey::new_short_term("anything").unwrap();
    let signed =
        builder().with_attribute(UserName::new("me").unwrap()).with_attribute(MessageIntegrity::new(key));
    let signed = encode(signed);
    assert_eq!(answer(&signed, "192.0.2.1:1").unwrap().len(), 32, "who asks with a key is answered without");
    let after = with_attribute(signed, 0x7ff0, b"ignored");
    assert_eq!(answer(&after, "192.0.2.1:1").unwrap().len(), 32, "RFC 8489 §14.5");
}

/// RFC 8489 §6.3, §6.3.2: what is not a request of this standard gets no word.
#[test]
fn everything_else_is_met_with_silence() {
    let bare = request(ID);
    let with = |at: usize, value: u8| {
        let mut bytes = bare;
        bytes[at] = value;
        bytes.to_vec()
    };
    let overlong = {
        let mut bytes = with_attribute(bare.to_vec(), 0x7ff0, b"abcd");
        bytes[23] = 5;
        bytes
    };
    let silent = [
        ("an indication", with(1, 0x11)),
        ("a success", with(0, 0x01)),
        ("another method", with(1, 0x03)),
        ("the first bits", with(0, 0x80)),
        ("no cookie, as in RFC 3489", with(4, 0)),
        ("a length with nothing there", with(3, 4)),
        ("a length that is no multiple of four", [&with(3, 2)[..], b"ab"].concat()),
        ("trailing bytes", [&bare[..], &[0; 4]].concat()),
        ("half a header", bare[..19].to_vec()),
        ("nothing", Vec::new()),
        ("an attribute beyond the end", overlong),
    ];
    for (what, bytes) in silent {
        assert_eq!(answer(&bytes, "192.0.2.1:1"), None, "{what}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn no_input_panics(bytes in proptest::collection::vec(any::<u8>(), 0..600), port: u16) {
        let mut out = [0; MAX_RESPONSE_LEN];
        let _ = respond(&bytes, SocketAddr::from(([192, 0, 2, 1], port)), &mut out);
        let _ = parse_response(&bytes, ID);
    }

    /// Well-formed on the outside, so that the library sees what is within.
    #[test]
    fn no_attribute_panics(
        attributes in proptest::collection::vec(
            (prop_oneof![0u16..0x40, 0x8000u16..0x8040, any::<u16>()],
             proptest::collection::vec(any::<u8>(), 0..40)), 0..6),
        response: bool,
    ) {
        let mut bytes = request(ID).to_vec();
        bytes[0] = u8::from(response);
        for (kind, value) in attributes {
            bytes = with_attribute(bytes, kind, &value);
        }
        let mut out = [0; MAX_RESPONSE_LEN];
        let _ = respond(&bytes, addr("[2001:db8::1]:9"), &mut out);
        let _ = parse_response(&bytes, ID);
    }
}
