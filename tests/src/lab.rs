//! The namespace lab: the real binaries in Linux network namespaces, joined by one user-space router.
//!
//! Each namespace has one TUN device; one thread of this process holds all of them and runs the NAT model and
//! exact delays between them. It needs no kernel NAT and no netem, only root and `/dev/net/tun`. What the
//! programs do is judged from outside, by the packets that pass, and compared with what they say.
//!
//! Read in this order: [`network`] (what the internet does, without I/O), [`router`] (its driver), [`scene`] (a
//! server and homes, with programs in them), [`trial`] (two newcomers meet; what came of it).

pub mod link;
pub mod network;
pub mod packet;
pub mod pcap;
pub mod tap;
