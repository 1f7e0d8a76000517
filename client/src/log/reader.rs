//! Reads fields from front to back.

use bytes::Bytes;

use super::message::MessageError;

/// What is left of the bytes.
pub(super) struct Reader {
    bytes: Bytes,
}

impl Reader {
    pub(super) const fn new(bytes: Bytes) -> Self {
        Self { bytes }
    }

    pub(super) fn take(&mut self, len: usize) -> Result<Bytes, MessageError> {
        if self.bytes.len() < len {
            return Err(MessageError::Length);
        }
        Ok(self.bytes.split_to(len))
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], MessageError> {
        let taken = self.take(N)?;
        taken.as_ref().try_into().map_err(|_| MessageError::Length)
    }

    pub(super) fn u8(&mut self) -> Result<u8, MessageError> {
        self.array::<1>().map(|[byte]| byte)
    }

    pub(super) fn u64(&mut self) -> Result<u64, MessageError> {
        self.array().map(u64::from_be_bytes)
    }

    /// Everything that is left, as UTF-8 of at most `max` bytes.
    pub(super) fn text(mut self, max: usize) -> Result<String, MessageError> {
        let rest = self.take(self.bytes.len())?;
        if rest.len() > max {
            return Err(MessageError::TooLong { len: rest.len(), max });
        }
        std::str::from_utf8(&rest).map(str::to_owned).map_err(|_| MessageError::NotUtf8)
    }

    /// Nothing may be left.
    pub(super) fn end(self) -> Result<(), MessageError> {
        if self.bytes.is_empty() { Ok(()) } else { Err(MessageError::Length) }
    }
}
