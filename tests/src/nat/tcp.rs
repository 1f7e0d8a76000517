//! The states of one TCP session as a NAT tracks them, enough for RFC 5382 and RFC 7857 §2.
//!
//! It follows flags only: no sequence numbers, no windows.

use std::time::Duration;

use super::flow::TcpFlags;
use super::profile::Profile;

/// Which way a packet goes through the NAT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    /// From inside to the public side.
    Out,
    /// From the public side to inside.
    In,
}

/// Where one TCP session stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TcpState {
    /// Only the inside has sent its SYN.
    SynOut,
    /// Only the outside has sent its SYN.
    SynIn,
    /// Both have; also by simultaneous open, in either order (RFC 5382 REQ-2a).
    Established,
    /// The inside has closed its direction.
    FinOut,
    /// The outside has closed its direction.
    FinIn,
    /// Both have closed theirs.
    Closing,
    /// Somebody aborted; data after that revives the session (RFC 7857 §2.2).
    Reset,
}

impl TcpState {
    /// The state after the SYN that starts a session.
    pub(super) const fn opened_by(direction: Direction) -> Self {
        match direction {
            Direction::Out => Self::SynOut,
            Direction::In => Self::SynIn,
        }
    }

    /// The state after one more segment.
    pub(super) const fn after(self, direction: Direction, flags: TcpFlags) -> Self {
        use Direction::{In, Out};
        if flags.rst {
            return Self::Reset;
        }
        match (self, direction) {
            (Self::SynOut, In) | (Self::SynIn, Out) if flags.syn => Self::Established,
            // A new SYN on a closed session starts over: the ports are being reused.
            (Self::Closing | Self::Reset, _) if flags.syn && !flags.ack => Self::opened_by(direction),
            (Self::Reset, _) => Self::Established,
            (Self::Established, Out) if flags.fin => Self::FinOut,
            (Self::Established, In) if flags.fin => Self::FinIn,
            (Self::FinOut, In) | (Self::FinIn, Out) if flags.fin => Self::Closing,
            _ => self,
        }
    }

    /// How long a session in this state may be idle (RFC 5382 REQ-5).
    pub(super) const fn lifetime(self, profile: &Profile) -> Duration {
        match self {
            Self::Established | Self::FinOut | Self::FinIn => profile.tcp_established_lifetime,
            Self::SynOut | Self::SynIn | Self::Closing | Self::Reset => profile.tcp_transitory_lifetime,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Direction::{In, Out};
    use super::TcpState::{Closing, Established, FinIn, FinOut, Reset, SynIn, SynOut};
    use super::*;

    const SYN: TcpFlags = TcpFlags::SYN;
    const SYN_ACK: TcpFlags = TcpFlags::SYN_ACK;
    const ACK: TcpFlags = TcpFlags::ACK;
    const FIN: TcpFlags = TcpFlags::FIN;
    const RST: TcpFlags = TcpFlags::RST;

    /// Every state × direction × kind of segment. Columns: SYN, SYN+ACK, ACK, FIN, RST.
    #[test]
    fn rfc5382_req2_every_transition() {
        let table = [
            (SynOut, Out, [SynOut, SynOut, SynOut, SynOut, Reset]),
            (SynOut, In, [Established, Established, SynOut, SynOut, Reset]),
            (SynIn, Out, [Established, Established, SynIn, SynIn, Reset]),
            (SynIn, In, [SynIn, SynIn, SynIn, SynIn, Reset]),
            (Established, Out, [Established, Established, Established, FinOut, Reset]),
            (Established, In, [Established, Established, Established, FinIn, Reset]),
            (FinOut, Out, [FinOut, FinOut, FinOut, FinOut, Reset]),
            (FinOut, In, [FinOut, FinOut, FinOut, Closing, Reset]),
            (FinIn, Out, [FinIn, FinIn, FinIn, Closing, Reset]),
            (FinIn, In, [FinIn, FinIn, FinIn, FinIn, Reset]),
            (Closing, Out, [SynOut, Closing, Closing, Closing, Reset]),
            (Closing, In, [SynIn, Closing, Closing, Closing, Reset]),
            (Reset, Out, [SynOut, Established, Established, Established, Reset]),
            (Reset, In, [SynIn, Established, Established, Established, Reset]),
        ];
        for (state, direction, expected) in table {
            for (flags, expected) in [SYN, SYN_ACK, ACK, FIN, RST].into_iter().zip(expected) {
                assert_eq!(state.after(direction, flags), expected, "{state:?} {direction:?} {flags:?}");
            }
        }
    }

    #[test]
    fn rfc5382_req5_only_open_sessions_live_long() {
        let profile = Profile::eim_adf();
        for state in [Established, FinOut, FinIn] {
            assert_eq!(state.lifetime(&profile), profile.tcp_established_lifetime);
        }
        for state in [SynOut, SynIn, Closing, Reset] {
            assert_eq!(state.lifetime(&profile), profile.tcp_transitory_lifetime);
        }
    }
}
