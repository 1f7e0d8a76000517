//! What NATs do, asked by STUN (RFC 5780): requests that are answered from another address or port, or to another
//! port, of a server that has several.
//!
//! [`respond`] is the server's part, a pure function from a datagram to its answer; [`request`] and [`parse`] are the
//! client's.

use std::net::SocketAddr;

use stun_rs::attributes::stun::UnknownAttributes;

use super::binding::{self, ATTRIBUTE_HEADER_LEN, HEADER_LEN, Message, Refusal, TransactionId};

/// The largest answer of [`respond`].
pub const MAX_RESPONSE_LEN: usize = 1500;
/// Below are the ports of services: no answer is sent to one because a request names it.
const FIRST_RESPONSE_PORT: u16 = 1024;

const MAPPED_ADDRESS: u16 = 0x0001;
const CHANGE_REQUEST: u16 = 0x0003;
const ERROR_CODE: u16 = 0x0009;
const PADDING: u16 = 0x0026;
const RESPONSE_PORT: u16 = 0x0027;
const RESPONSE_ORIGIN: u16 = 0x802b;
const OTHER_ADDRESS: u16 = 0x802c;
const BINDING_ERROR: u16 = 0x0111;
/// The bits of CHANGE-REQUEST (RFC 5780 §7.2).
const CHANGE_IP: u32 = 4;
const CHANGE_PORT: u32 = 2;

/// Which of the server's endpoints an answer is to come from (RFC 5780 §6.1, table 1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Origin {
    /// The one that was asked.
    #[default]
    Asked,
    /// Another port of the same address.
    OtherPort,
    /// The same port of the other address.
    OtherIp,
    /// Another port of the other address.
    Other,
}

impl Origin {
    const fn of_flags(flags: u32) -> Self {
        match (flags & CHANGE_IP != 0, flags & CHANGE_PORT != 0) {
            (false, false) => Self::Asked,
            (false, true) => Self::OtherPort,
            (true, false) => Self::OtherIp,
            (true, true) => Self::Other,
        }
    }

    const fn flags(self) -> u32 {
        match self {
            Self::Asked => 0,
            Self::OtherPort => CHANGE_PORT,
            Self::OtherIp => CHANGE_IP,
            Self::Other => CHANGE_IP | CHANGE_PORT,
        }
    }
}

/// The endpoints of a server, as seen from the one that was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Origins {
    /// The one that was asked.
    pub asked: SocketAddr,
    /// See [`Origin::OtherPort`].
    pub other_port: Option<SocketAddr>,
    /// See [`Origin::OtherIp`].
    pub other_ip: Option<SocketAddr>,
    /// See [`Origin::Other`]: the alternate address of RFC 5780.
    pub other: Option<SocketAddr>,
}

impl Origins {
    const fn addr(&self, origin: Origin) -> Option<SocketAddr> {
        match origin {
            Origin::Asked => Some(self.asked),
            Origin::OtherPort => self.other_port,
            Origin::OtherIp => self.other_ip,
            Origin::Other => self.other,
        }
    }
}

/// An answer that was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Response {
    /// Its length.
    pub len: usize,
    /// Where it must leave from.
    pub from: Origin,
    /// Where it must go: the asker's IP address, and its port or the one that it names.
    pub to: SocketAddr,
}

/// The answer to `request`, which came from `from` to `origins.asked`: writes it to `out`, which should have
/// [`MAX_RESPONSE_LEN`] bytes. `None` if there is none to give, as for [`binding::respond`].
///
/// It goes to the IP address that asked and to no other. Answers to plain requests have what RFC 5780 §6.1 wants only
/// if the server has an alternate address: 68 bytes instead of 32 for IPv4. PADDING in a request makes the answer as
/// long as the request, not longer.
#[must_use]
pub fn respond(request: &[u8], from: SocketAddr, origins: &Origins, out: &mut [u8]) -> Option<Response> {
    let message = Message::parse(request).filter(|message| message.kind == binding::BINDING_REQUEST)?;
    let contents = message.contents()?;
    let answered = |len| Response { len, from: Origin::Asked, to: from };
    if contents.plain && origins.other.is_none() {
        return binding::success(message.transaction_id, from, contents.fingerprint, out).map(answered);
    }
    let wish = Wish::of(&message)?;
    let refuse = |refusal, out| binding::refusal(&message, refusal, contents.fingerprint, out).map(answered);
    let unknown = unknown_attributes(&message);
    if !unknown.is_empty() {
        return refuse(Refusal::UnknownAttributes(unknown), out);
    }
    if wish.contradicts_itself() {
        return refuse(Refusal::BadRequest, out);
    }
    let Some(source) = origins.addr(wish.origin) else {
        // RFC 5780 §6.1: a server that has no alternate address does not know the attribute.
        let mut unknown = UnknownAttributes::default();
        unknown.add(CHANGE_REQUEST);
        return refuse(Refusal::UnknownAttributes(unknown), out);
    };
    let to = SocketAddr::new(from.ip(), wish.port.unwrap_or(from.port()));
    let mut answer = Answer { out, len: HEADER_LEN };
    answer.masked_address(from, message.transaction_id)?;
    if origins.other.is_some() || wish.is_any() {
        answer.address(MAPPED_ADDRESS, from)?;
        answer.address(RESPONSE_ORIGIN, source)?;
    }
    if let Some(other) = origins.other {
        answer.address(OTHER_ADDRESS, other)?;
    }
    let fingerprint_len = if contents.fingerprint { binding::FINGERPRINT_LEN } else { 0 };
    if wish.is_padded {
        answer.padding(request.len().saturating_sub(fingerprint_len))?;
    }
    let len = answer.finish(message.transaction_id, fingerprint_len)?;
    Some(Response { len, from: wish.origin, to })
}

/// Attributes that have to be understood, and are neither here nor in [`binding`].
fn unknown_attributes(message: &Message<'_>) -> UnknownAttributes {
    let mut unknown = UnknownAttributes::default();
    for kind in message.attributes().flatten().map(|attribute| attribute.kind) {
        let is_ours = matches!(kind, CHANGE_REQUEST | PADDING | RESPONSE_PORT);
        if !is_ours && !binding::is_understood(kind) && unknown.len() < binding::MAX_UNKNOWN {
            unknown.add(kind);
        }
    }
    unknown
}

/// What a request asks for beyond its answer.
#[derive(Debug, Default)]
struct Wish {
    origin: Origin,
    port: Option<u16>,
    is_padded: bool,
    changes: bool,
}

impl Wish {
    /// `None` if an attribute is not what it should be.
    fn of(message: &Message<'_>) -> Option<Self> {
        let mut wish = Self::default();
        for attribute in message.attributes() {
            let attribute = attribute?;
            match attribute.kind {
                CHANGE_REQUEST => {
                    let flags = u32::from_be_bytes(attribute.value.try_into().ok()?);
                    (wish.origin, wish.changes) = (Origin::of_flags(flags), true);
                }
                // RFC 5780 §7.5: a port, and two bytes of nothing, which some leave to the padding.
                RESPONSE_PORT => {
                    wish.port = Some(u16::from_be_bytes(*attribute.value.first_chunk()?));
                }
                PADDING => wish.is_padded = true,
                _ => {}
            }
        }
        Some(wish)
    }

    const fn is_any(&self) -> bool {
        self.changes || self.port.is_some() || self.is_padded
    }

    /// RFC 5780 §6.1: padding goes to nobody who did not ask from that port.
    fn contradicts_itself(&self) -> bool {
        self.port.is_some_and(|port| self.is_padded || port < FIRST_RESPONSE_PORT)
    }
}

/// A success response that is being written.
struct Answer<'a> {
    out: &'a mut [u8],
    len: usize,
}

impl Answer<'_> {
    fn attribute(&mut self, kind: u16, len: usize) -> Option<&mut [u8]> {
        let attribute = self.out.get_mut(self.len..self.len + ATTRIBUTE_HEADER_LEN + len)?;
        binding::write_attribute(attribute, kind, len);
        self.len += attribute.len();
        Some(&mut attribute[ATTRIBUTE_HEADER_LEN..])
    }

    fn address(&mut self, kind: u16, addr: SocketAddr) -> Option<()> {
        let ip = addr.ip().to_canonical();
        binding::write_address(self.attribute(kind, binding::address_len(ip))?, ip, addr.port());
        Some(())
    }

    fn masked_address(&mut self, addr: SocketAddr, transaction_id: &TransactionId) -> Option<()> {
        let ip = addr.ip().to_canonical();
        let value = self.attribute(binding::XOR_MAPPED_ADDRESS, binding::address_len(ip))?;
        binding::write_address(value, ip, addr.port());
        binding::mask(value, transaction_id);
        Some(())
    }

    /// Fills the message up to `len` bytes, if it is shorter by so much that there is room for padding.
    fn padding(&mut self, len: usize) -> Option<()> {
        let len = len.min(self.out.len()) & !3;
        if let Some(room) = len.checked_sub(self.len + ATTRIBUTE_HEADER_LEN) {
            self.attribute(PADDING, room)?.fill(0);
        }
        Some(())
    }

    fn finish(self, transaction_id: &TransactionId, fingerprint_len: usize) -> Option<usize> {
        let len = self.len + fingerprint_len;
        let out = self.out.get_mut(..len)?;
        binding::write_header(out, binding::BINDING_SUCCESS, len - HEADER_LEN, transaction_id);
        if fingerprint_len > 0 {
            binding::write_fingerprint(out, self.len);
        }
        Some(len)
    }
}

/// A Binding request that is to be answered from `origin`, and to `port` of the asker if there is one.
#[must_use]
pub fn request(transaction_id: TransactionId, origin: Origin, port: Option<u16>) -> Vec<u8> {
    let mut attributes = Vec::new();
    if origin != Origin::Asked {
        attributes.extend_from_slice(&CHANGE_REQUEST.to_be_bytes());
        attributes.extend_from_slice(&4u16.to_be_bytes());
        attributes.extend_from_slice(&origin.flags().to_be_bytes());
    }
    if let Some(port) = port {
        attributes.extend_from_slice(&RESPONSE_PORT.to_be_bytes());
        attributes.extend_from_slice(&4u16.to_be_bytes());
        attributes.extend_from_slice(&port.to_be_bytes());
        attributes.extend_from_slice(&[0; 2]);
    }
    let mut bytes = vec![0; HEADER_LEN];
    binding::write_header(&mut bytes, binding::BINDING_REQUEST, attributes.len(), &transaction_id);
    bytes.extend(attributes);
    bytes
}

/// What a server says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answered {
    /// It has seen the request.
    Seen {
        /// Where it came from.
        mapped: SocketAddr,
        /// The server's alternate address, if it has one: OTHER-ADDRESS.
        other: Option<SocketAddr>,
    },
    /// It does not do what it was asked for; the code of the error.
    Refused(u16),
}

/// Reads the answer to the request with `transaction_id`; `None` if the bytes are anything else.
#[must_use]
pub fn parse(bytes: &[u8], transaction_id: TransactionId) -> Option<Answered> {
    let message = Message::parse(bytes).filter(|message| *message.transaction_id == transaction_id)?;
    message.contents()?;
    let value = |kind| {
        message.attributes().flatten().find(|attribute| attribute.kind == kind).map(|found| found.value)
    };
    match message.kind {
        binding::BINDING_SUCCESS => {
            let mapped = binding::parse_response(bytes, transaction_id)?;
            Some(Answered::Seen { mapped, other: value(OTHER_ADDRESS).and_then(binding::read_address) })
        }
        BINDING_ERROR => {
            // RFC 8489 §14.8: the hundreds in three bits, the rest in a byte.
            let &[_, _, class, number, ..] = value(ERROR_CODE)? else { return None };
            Some(Answered::Refused(u16::from(class & 7) * 100 + u16::from(number)))
        }
        _ => None,
    }
}

/// The transaction id of a Binding request, as it comes back from a NAT that turns packets around.
#[must_use]
pub fn request_id(bytes: &[u8]) -> Option<TransactionId> {
    let message = Message::parse(bytes).filter(|message| message.kind == binding::BINDING_REQUEST)?;
    Some(*message.transaction_id)
}

#[cfg(test)]
mod tests;
