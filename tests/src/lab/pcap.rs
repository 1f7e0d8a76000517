//! A capture file in the classic pcap format with nanosecond time stamps and raw IP packets.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::time::Duration;

/// Magic of a pcap file with nanosecond time stamps.
const MAGIC_NANOS: u32 = 0xa1b2_3c4d;
/// Packets begin with the IP header.
const LINKTYPE_RAW: u32 = 101;
/// Longest packet kept whole.
const SNAP_LEN: u32 = 65_535;

/// A capture file being written.
#[derive(Debug)]
pub struct Pcap {
    out: BufWriter<File>,
    /// Wall time at the router's time zero.
    base: Duration,
}

impl Pcap {
    /// Creates the file and writes its header; `base` is the wall time at the router's time zero.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn create(path: &Path, base: Duration) -> io::Result<Self> {
        let mut out = BufWriter::new(File::create(path)?);
        out.write_all(&MAGIC_NANOS.to_le_bytes())?;
        out.write_all(&2u16.to_le_bytes())?;
        out.write_all(&4u16.to_le_bytes())?;
        // Zone and accuracy, zero by convention.
        out.write_all(&[0; 8])?;
        out.write_all(&SNAP_LEN.to_le_bytes())?;
        out.write_all(&LINKTYPE_RAW.to_le_bytes())?;
        Ok(Self { out, base })
    }

    /// Appends one packet.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn record(&mut self, at: Duration, packet: &[u8]) -> io::Result<()> {
        let wall = self.base + at;
        let len = u32::try_from(packet.len()).unwrap_or(SNAP_LEN).min(SNAP_LEN);
        self.out.write_all(&u32::try_from(wall.as_secs()).unwrap_or(u32::MAX).to_le_bytes())?;
        self.out.write_all(&wall.subsec_nanos().to_le_bytes())?;
        self.out.write_all(&len.to_le_bytes())?;
        self.out.write_all(&len.to_le_bytes())?;
        self.out.write_all(&packet[..packet.len().min(usize::try_from(len).unwrap_or(0))])
    }

    /// Writes out what is buffered.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_has_the_documented_layout() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.pcap");
        let mut pcap = Pcap::create(&path, Duration::from_secs(1_000)).unwrap();
        pcap.record(Duration::from_nanos(2_000_000_003), &[0x45, 1, 2]).unwrap();
        pcap.flush().unwrap();
        let bytes = std::fs::read(path).unwrap();
        assert_eq!(bytes.len(), 24 + 16 + 3);
        assert_eq!(bytes[20..24], 101u32.to_le_bytes());
        assert_eq!(bytes[24..28], 1_002u32.to_le_bytes());
        assert_eq!(bytes[28..32], 3u32.to_le_bytes());
        assert_eq!(bytes[36..], [3, 0, 0, 0, 0x45, 1, 2]);
    }
}
