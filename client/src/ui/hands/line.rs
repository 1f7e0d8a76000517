//! JSON lines on a connection, with a bound on their length.

use std::io;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// The next line; `None` at the end. One of more than `max` bytes, or one that is cut off or no such value, is an error.
pub(super) async fn read<T: DeserializeOwned>(
    reader: &mut (impl AsyncBufRead + Unpin),
    max: usize,
) -> io::Result<Option<T>> {
    let mut line = Vec::new();
    let limit = u64::try_from(max).unwrap_or(u64::MAX).saturating_add(1);
    if reader.take(limit).read_until(b'\n', &mut line).await? == 0 {
        return Ok(None);
    }
    if line.pop() != Some(b'\n') {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "a line is cut off or too long"));
    }
    Ok(Some(serde_json::from_slice(&line)?))
}

/// Writes one line.
pub(super) async fn write(writer: &mut (impl AsyncWrite + Unpin), value: &impl Serialize) -> io::Result<()> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    writer.write_all(&line).await?;
    writer.flush().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn lines_are_bounded() {
        let read = async |mut bytes: &[u8]| read::<u8>(&mut bytes, 4).await;
        assert_eq!(read(b"123\n").await.unwrap(), Some(123));
        assert_eq!(read(b"").await.unwrap(), None);
        for bad in [b"12".as_slice(), b"x\n", b"    1\n", b"300\n"] {
            assert!(read(bad).await.is_err(), "{bad:?}");
        }
    }
}
