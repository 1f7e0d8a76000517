//! The header of one packet, as much of it as a NAT looks at.

use std::net::SocketAddr;

/// The control bits of a TCP segment that move a session from state to state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct TcpFlags {
    /// Opens one direction.
    pub syn: bool,
    /// Acknowledges something.
    pub ack: bool,
    /// Closes one direction.
    pub fin: bool,
    /// Aborts both directions.
    pub rst: bool,
}

impl TcpFlags {
    /// The first segment of a connection.
    pub const SYN: Self = Self { syn: true, ack: false, fin: false, rst: false };
    /// The answer to a [`TcpFlags::SYN`].
    pub const SYN_ACK: Self = Self { syn: true, ack: true, fin: false, rst: false };
    /// Plain data or a plain acknowledgement.
    pub const ACK: Self = Self { syn: false, ack: true, fin: false, rst: false };
    /// The orderly end of one direction.
    pub const FIN: Self = Self { syn: false, ack: true, fin: true, rst: false };
    /// The abrupt end.
    pub const RST: Self = Self { syn: false, ack: false, fin: false, rst: true };

    /// Whether this segment may start a session: a SYN that neither closes nor aborts.
    #[must_use]
    pub const fn opens(self) -> bool {
        self.syn && !self.fin && !self.rst
    }
}

/// The transport of one packet, with what matters of its header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Proto {
    /// A UDP datagram.
    Udp,
    /// A TCP segment.
    Tcp(TcpFlags),
}

impl Proto {
    /// The transport alone.
    #[must_use]
    pub const fn transport(self) -> Transport {
        match self {
            Self::Udp => Transport::Udp,
            Self::Tcp(_) => Transport::Tcp,
        }
    }
}

/// Which of the two separate port spaces a mapping lives in (RFC 7857 §5: mappings are per protocol).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Transport {
    /// UDP ports.
    Udp,
    /// TCP ports.
    Tcp,
}

/// One packet's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Flow {
    /// Transport and, for TCP, its flags.
    pub proto: Proto,
    /// Where the packet comes from, as written in it.
    pub src: SocketAddr,
    /// Where it goes, as written in it.
    pub dst: SocketAddr,
}

impl Flow {
    /// A UDP datagram from `src` to `dst`.
    #[must_use]
    pub const fn udp(src: SocketAddr, dst: SocketAddr) -> Self {
        Self { proto: Proto::Udp, src, dst }
    }

    /// A TCP segment from `src` to `dst`.
    #[must_use]
    pub const fn tcp(flags: TcpFlags, src: SocketAddr, dst: SocketAddr) -> Self {
        Self { proto: Proto::Tcp(flags), src, dst }
    }
}
