//! Binding requests whose answer goes to another port of the asker's (RFC 5780 §7.5).

use super::binding::{self, HEADER_LEN, TransactionId};

const RESPONSE_PORT: u16 = 0x0027;
/// Length of the attribute with its header and padding.
const LEN: usize = 8;
/// Below are the ports of services: nobody has anything sent there.
const FIRST_PORT: u16 = 1024;

/// A request whose answer is to go to `port`.
#[must_use]
pub fn request(id: TransactionId, port: u16) -> Vec<u8> {
    let mut bytes = binding::request(id).to_vec();
    bytes[3] = 8;
    for field in [RESPONSE_PORT, 2, port, 0] {
        bytes.extend_from_slice(&field.to_be_bytes());
    }
    bytes
}

/// The port to which the answer to `datagram`, a Binding request, is to go, if it is such a request and nothing else.
#[must_use]
pub fn wanted(datagram: &[u8]) -> Option<u16> {
    let (header, attribute) = datagram.split_first_chunk::<HEADER_LEN>()?;
    let attribute: &[u8; LEN] = attribute.try_into().ok()?;
    let field = |n: usize| u16::from_be_bytes([attribute[n], attribute[n + 1]]);
    let is_such = header[..2] == [0, 1] && field(0) == RESPONSE_PORT && field(2) == 2;
    Some(field(4)).filter(|port| is_such && *port >= FIRST_PORT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_is_found_where_it_was_put_and_nowhere_else() {
        let bytes = request([7; 12], 40_000);
        assert_eq!(wanted(&bytes), Some(40_000));
        assert_eq!(wanted(&binding::request([7; 12])), None);
        assert_eq!(wanted(&request([7; 12], 53)), None, "a service");
        for len in 0..bytes.len() {
            assert_eq!(wanted(&bytes[..len]), None);
        }
        let mut answer = [0; binding::MAX_RESPONSE_LEN];
        let len = binding::respond(&bytes, "192.0.2.1:5".parse().unwrap(), &mut answer).unwrap();
        assert!(binding::parse_response(&answer[..len], [7; 12]).is_some());
    }
}
