//! As much of the protobuf encoding as reading a graph takes.

use crate::BundleError;

/// The error for bytes that are no protobuf message.
pub(super) fn cut_off() -> BundleError {
    BundleError::Graph("it is not an ONNX file, or it is cut off".to_owned())
}

/// The fields of a message.
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

/// One field.
pub(super) struct Field<'a> {
    pub number: u64,
    pub value: Value<'a>,
}

impl<'a> Field<'a> {
    /// The bytes of the field of that number.
    pub(super) fn bytes_of(&self, number: u64) -> Option<&'a [u8]> {
        match self.value {
            Value::Bytes(bytes) if self.number == number => Some(bytes),
            _ => None,
        }
    }
}

/// The content of a field.
pub(super) enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
    /// Of a fixed length; nothing here needs those.
    Other,
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<Field<'a>, BundleError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_none() {
            self.0 = &[];
        }
        Some(field.ok_or_else(cut_off))
    }
}

impl<'a> Fields<'a> {
    fn field(&mut self) -> Option<Field<'a>> {
        let key = self.varint()?;
        let value = match key & 7 {
            0 => Value::Number(self.varint()?),
            1 => self.take(8).map(|_| Value::Other)?,
            2 => {
                let length = usize::try_from(self.varint()?).ok()?;
                Value::Bytes(self.take(length)?)
            }
            5 => self.take(4).map(|_| Value::Other)?,
            _ => return None,
        };
        Some(Field { number: key >> 3, value })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// A number of variable length.
    pub(super) fn varint(&mut self) -> Option<u64> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = *self.take(1)?.first()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }
}
