//! Standard Binding requests (RFC 8489): what the rendezvous answers to anybody, and what a client asks with.
//!
//! [`respond`] is a pure function from a datagram to its answer. Plain requests, which are nearly all, take a
//! hand-written way without allocation; the STUN library reads the others.

use std::net::{IpAddr, SocketAddr};

use stun_rs::attributes::stun::{ErrorCode, Fingerprint, UnknownAttributes};
use stun_rs::methods::BINDING;
use stun_rs::{
    MessageClass, MessageDecoderBuilder, MessageEncoderBuilder, StunMessageBuilder,
    TransactionId as LibraryId,
};

/// Bytes of a message's header (RFC 8489 §5).
pub const HEADER_LEN: usize = 20;
/// The largest answer of [`respond`].
pub const MAX_RESPONSE_LEN: usize = 128;

/// Relates an answer to its request.
pub type TransactionId = [u8; 12];

const BINDING_REQUEST: u16 = 0x0001;
const BINDING_SUCCESS: u16 = 0x0101;
const MAGIC_COOKIE: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];
const ATTRIBUTE_HEADER_LEN: usize = 4;

const XOR_MAPPED_ADDRESS: u16 = 0x0020;
const FINGERPRINT: u16 = 0x8028;
const FINGERPRINT_LEN: usize = 8;
/// RFC 8489 §14.7.
const FINGERPRINT_XOR: u32 = 0x5354_554e;
const FAMILY_IPV4: u8 = 1;
const FAMILY_IPV6: u8 = 2;

/// Attributes from here on may be ignored by who does not know them (RFC 8489 §14).
const COMPREHENSION_OPTIONAL: u16 = 0x8000;
/// Those below that a server without authentication knows, and may pass over: MAPPED-ADDRESS, USERNAME,
/// MESSAGE-INTEGRITY, ERROR-CODE, UNKNOWN-ATTRIBUTES, REALM, NONCE, MESSAGE-INTEGRITY-SHA256,
/// PASSWORD-ALGORITHM, USERHASH, XOR-MAPPED-ADDRESS (RFC 8489 §18.3), and RESPONSE-PORT (RFC 5780 §7.5).
const UNDERSTOOD: [u16; 12] =
    [0x0001, 0x0006, 0x0008, 0x0009, 0x000a, 0x0014, 0x0015, 0x001c, 0x001d, 0x001e, 0x0020, 0x0027];
/// RFC 8489 §14.8.
const UNKNOWN_ATTRIBUTE: u16 = 420;
/// Unknown attributes that an answer names.
const MAX_UNKNOWN: usize = 16;

/// The answer to `request`, which came from `from`: writes it to `out` and returns its length. `None` if there is
/// none to give: for anything that is not a well-formed Binding request with RFC 8489's cookie and, if it has a
/// FINGERPRINT, the right one. `out` should have [`MAX_RESPONSE_LEN`] bytes.
///
/// The answer to a bare request is 12 bytes longer than it for IPv4 and 24 for IPv6, which the standard makes
/// unavoidable; everything that could be left out is.
#[must_use]
pub fn respond(request: &[u8], from: SocketAddr, out: &mut [u8]) -> Option<usize> {
    let message = Message::parse(request).filter(|message| message.kind == BINDING_REQUEST)?;
    let contents = message.contents()?;
    if contents.plain {
        return success(message.transaction_id, from, contents.fingerprint, out);
    }
    let unknown = unknown_attributes(request)?;
    if unknown.is_empty() {
        return success(message.transaction_id, from, contents.fingerprint, out);
    }
    refusal(&message, &unknown, contents.fingerprint, out)
}

/// A Binding request without attributes.
#[must_use]
pub fn request(transaction_id: TransactionId) -> [u8; HEADER_LEN] {
    let mut bytes = [0; HEADER_LEN];
    write_header(&mut bytes, BINDING_REQUEST, 0, &transaction_id);
    bytes
}

/// The address that the server saw, from its answer to the request with `transaction_id`; `None` if the bytes are
/// anything else. Attributes that are not known here are passed over, also those that old servers still send in
/// the comprehension-required range: none of them changes what the address means.
#[must_use]
pub fn parse_response(bytes: &[u8], transaction_id: TransactionId) -> Option<SocketAddr> {
    let message = Message::parse(bytes)?;
    if message.kind != BINDING_SUCCESS || *message.transaction_id != transaction_id {
        return None;
    }
    message.contents()?;
    message
        .attributes()
        .find_map(|attribute| attribute.filter(|attribute| attribute.kind == XOR_MAPPED_ADDRESS))
        .and_then(|attribute| read_address(attribute.value, &transaction_id))
}

/// A message whose header is right.
struct Message<'a> {
    bytes: &'a [u8],
    kind: u16,
    transaction_id: &'a TransactionId,
}

/// What the attributes of a message are, by a look at their headers.
struct Contents {
    /// Whether the message has a FINGERPRINT; it is right.
    fingerprint: bool,
    /// Whether there is nothing else in it but what may be ignored.
    plain: bool,
}

struct Attribute<'a> {
    kind: u16,
    value: &'a [u8],
    /// Where its header starts in the message.
    start: usize,
}

impl<'a> Message<'a> {
    /// RFC 8489 §6.3: the first two bits, the cookie, and a length that is all there is.
    fn parse(bytes: &'a [u8]) -> Option<Self> {
        let (header, attributes) = bytes.split_first_chunk::<HEADER_LEN>()?;
        let kind = u16::from_be_bytes([header[0], header[1]]);
        let len = usize::from(u16::from_be_bytes([header[2], header[3]]));
        let sound =
            kind >> 14 == 0 && header[4..8] == MAGIC_COOKIE && len == attributes.len() && len % 4 == 0;
        sound.then_some(Self { bytes, kind, transaction_id: bytes[8..HEADER_LEN].first_chunk()? })
    }

    /// Each attribute in turn; `None` once, at the end, if one of them is longer than the message.
    fn attributes(&self) -> impl Iterator<Item = Option<Attribute<'a>>> + use<'a> {
        let bytes = self.bytes;
        let mut start = HEADER_LEN;
        std::iter::from_fn(move || {
            let rest = bytes.get(start..).filter(|rest| !rest.is_empty())?;
            let attribute = Attribute::parse(rest, start);
            start = attribute.as_ref().map_or(bytes.len(), |attribute| {
                start + ATTRIBUTE_HEADER_LEN + attribute.value.len().next_multiple_of(4)
            });
            Some(attribute)
        })
    }

    /// `None` if the attributes are malformed, or the FINGERPRINT is wrong or not the last (RFC 8489 §14.7).
    fn contents(&self) -> Option<Contents> {
        let mut contents = Contents { fingerprint: false, plain: true };
        for attribute in self.attributes() {
            let attribute = attribute?;
            if contents.fingerprint {
                return None;
            }
            if attribute.kind == FINGERPRINT {
                let expected = fingerprint(&self.bytes[..attribute.start]);
                if attribute.value != expected.to_be_bytes() {
                    return None;
                }
                contents.fingerprint = true;
            } else if attribute.kind < COMPREHENSION_OPTIONAL {
                contents.plain = false;
            }
        }
        Some(contents)
    }
}

impl<'a> Attribute<'a> {
    fn parse(bytes: &'a [u8], start: usize) -> Option<Self> {
        let (header, rest) = bytes.split_first_chunk::<ATTRIBUTE_HEADER_LEN>()?;
        let len = usize::from(u16::from_be_bytes([header[2], header[3]]));
        // A message's length is a multiple of four, so that what holds the value holds its padding too.
        let value = rest.get(..len)?;
        Some(Self { kind: u16::from_be_bytes([header[0], header[1]]), value, start })
    }
}

/// The comprehension-required attributes of a request that nobody here knows; `None` if the library finds the
/// request malformed. What follows a MESSAGE-INTEGRITY is ignored (RFC 8489 §14.5).
fn unknown_attributes(request: &[u8]) -> Option<UnknownAttributes> {
    let (message, size) = MessageDecoderBuilder::default().build().decode(request).ok()?;
    if size != request.len() {
        return None;
    }
    let mut unknown = UnknownAttributes::default();
    for attribute in message.attributes() {
        let kind = attribute.attribute_type().as_u16();
        let known = kind >= COMPREHENSION_OPTIONAL || UNDERSTOOD.contains(&kind);
        if !known && unknown.len() < MAX_UNKNOWN {
            unknown.add(kind);
        }
    }
    Some(unknown)
}

/// RFC 8489 §6.3.1: error 420, with the attributes in question.
fn refusal(
    message: &Message<'_>,
    unknown: &UnknownAttributes,
    fingerprint: bool,
    out: &mut [u8],
) -> Option<usize> {
    // No reason phrase: the code says it, and the answer stays small.
    let error = stun_rs::ErrorCode::new(UNKNOWN_ATTRIBUTE, "").ok()?;
    let mut answer = StunMessageBuilder::new(BINDING, MessageClass::ErrorResponse)
        .with_transaction_id(LibraryId::from(message.transaction_id))
        .with_attribute(ErrorCode::new(error))
        .with_attribute(unknown.clone());
    if fingerprint {
        answer = answer.with_attribute(Fingerprint::default());
    }
    MessageEncoderBuilder::default().build().encode(out, &answer.build()).ok()
}

fn success(
    transaction_id: &TransactionId,
    from: SocketAddr,
    with_fingerprint: bool,
    out: &mut [u8],
) -> Option<usize> {
    let ip = from.ip().to_canonical();
    let address_len = if ip.is_ipv4() { 8 } else { 20 };
    let plain_len = HEADER_LEN + ATTRIBUTE_HEADER_LEN + address_len;
    let len = plain_len + if with_fingerprint { FINGERPRINT_LEN } else { 0 };
    let out = out.get_mut(..len)?;
    write_header(out, BINDING_SUCCESS, len - HEADER_LEN, transaction_id);
    write_attribute(&mut out[HEADER_LEN..], XOR_MAPPED_ADDRESS, address_len);
    write_address(&mut out[HEADER_LEN + ATTRIBUTE_HEADER_LEN..plain_len], ip, from.port(), transaction_id);
    if with_fingerprint {
        let (message, attribute) = out.split_at_mut(plain_len);
        write_attribute(attribute, FINGERPRINT, 4);
        attribute[ATTRIBUTE_HEADER_LEN..].copy_from_slice(&fingerprint(message).to_be_bytes());
    }
    Some(len)
}

fn write_header(out: &mut [u8], kind: u16, len: usize, transaction_id: &TransactionId) {
    write_attribute(out, kind, len);
    out[4..8].copy_from_slice(&MAGIC_COOKIE);
    out[8..HEADER_LEN].copy_from_slice(transaction_id);
}

/// A type and a length, which is also how a message's header starts.
fn write_attribute(out: &mut [u8], kind: u16, len: usize) {
    let len = u16::try_from(len).expect("what is written here is shorter than 64 KiB");
    out[..2].copy_from_slice(&kind.to_be_bytes());
    out[2..4].copy_from_slice(&len.to_be_bytes());
}

/// RFC 8489 §14.2.
fn write_address(out: &mut [u8], ip: IpAddr, port: u16, transaction_id: &TransactionId) {
    out[0] = 0;
    out[2..4].copy_from_slice(&port.to_be_bytes());
    match ip {
        IpAddr::V4(ip) => {
            out[1] = FAMILY_IPV4;
            out[4..].copy_from_slice(&ip.octets());
        }
        IpAddr::V6(ip) => {
            out[1] = FAMILY_IPV6;
            out[4..].copy_from_slice(&ip.octets());
        }
    }
    mask(out, transaction_id);
}

fn read_address(value: &[u8], transaction_id: &TransactionId) -> Option<SocketAddr> {
    let mut plain = [0; 20];
    let plain = plain.get_mut(..value.len())?;
    plain.copy_from_slice(value);
    let (head, _) = value.split_first_chunk::<4>()?;
    mask(plain, transaction_id);
    let port = u16::from_be_bytes([plain[2], plain[3]]);
    let ip: IpAddr = match head[1] {
        FAMILY_IPV4 => <[u8; 4]>::try_from(&plain[4..]).ok()?.into(),
        FAMILY_IPV6 => <[u8; 16]>::try_from(&plain[4..]).ok()?.into(),
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}

/// Port and address XOR cookie and transaction id.
fn mask(value: &mut [u8], transaction_id: &TransactionId) {
    let (head, address) = value.split_at_mut(4);
    for (byte, mask) in head[2..].iter_mut().zip(MAGIC_COOKIE) {
        *byte ^= mask;
    }
    for (byte, mask) in address.iter_mut().zip(MAGIC_COOKIE.iter().chain(transaction_id)) {
        *byte ^= mask;
    }
}

/// The value of a FINGERPRINT after `message`, whose header counts the attribute already.
fn fingerprint(message: &[u8]) -> u32 {
    let crc = message.iter().fold(u32::MAX, |crc, byte| {
        let index = (crc ^ u32::from(*byte)) & 0xff;
        CRC_TABLE[index as usize] ^ (crc >> 8)
    });
    !crc ^ FINGERPRINT_XOR
}

/// CRC-32 of ITU V.42, byte by byte.
static CRC_TABLE: [u32; 256] = {
    const POLYNOMIAL: u32 = 0xedb8_8320;
    let mut table = [0; 256];
    let mut byte: u32 = 0;
    while byte < 256 {
        let mut crc = byte;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ POLYNOMIAL } else { crc >> 1 };
            bit += 1;
        }
        table[byte as usize] = crc;
        byte += 1;
    }
    table
};
