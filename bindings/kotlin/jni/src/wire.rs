//! What goes over the boundary: one array of bytes in, one out. Numbers are little-endian; a text is its length in
//! bytes (4) and its bytes; a list is its length (4) and its entries. `Wire.kt` is the other side.

use crate::failure::Failure;

/// Reads what Kotlin has written.
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(crate) fn long(&mut self) -> Result<i64, Failure> {
        Ok(i64::from_le_bytes(self.array()?))
    }

    pub(crate) fn int(&mut self) -> Result<i32, Failure> {
        Ok(i32::from_le_bytes(self.array()?))
    }

    pub(crate) fn float(&mut self) -> Result<f32, Failure> {
        Ok(f32::from_le_bytes(self.array()?))
    }

    pub(crate) fn double(&mut self) -> Result<f64, Failure> {
        Ok(f64::from_le_bytes(self.array()?))
    }

    pub(crate) fn flag(&mut self) -> Result<bool, Failure> {
        Ok(self.array::<1>()? != [0])
    }

    /// A number that must not be negative. 0 is the default, so it is none.
    pub(crate) fn count(&mut self, name: &str) -> Result<Option<u64>, Failure> {
        let value = self.long()?;
        let value = u64::try_from(value)
            .map_err(|_| Failure::argument(format!("{name} is {value} and must not be negative")))?;
        Ok(Some(value).filter(|value| *value != 0))
    }

    /// As [`Reader::count`], for what is counted in memory.
    pub(crate) fn size(&mut self, name: &str) -> Result<Option<usize>, Failure> {
        self.count(name)?
            .map(|value| usize::try_from(value).map_err(|_| Failure::argument(format!("{name} is {value}: too large"))))
            .transpose()
    }

    pub(crate) fn bytes(&mut self) -> Result<&'a [u8], Failure> {
        let length = self.length()?;
        self.take(length)
    }

    pub(crate) fn text(&mut self) -> Result<&'a str, Failure> {
        Ok(std::str::from_utf8(self.bytes()?).map_err(limbeck_sdk::Error::from)?)
    }

    pub(crate) fn texts(&mut self) -> Result<Vec<&'a str>, Failure> {
        // No room is made ahead: the length may be anything, the bytes are there.
        (0..self.length()?).map(|_| self.text()).collect()
    }

    pub(crate) fn pairs(&mut self) -> Result<Vec<(&'a str, &'a str)>, Failure> {
        (0..self.length()?).map(|_| Ok((self.text()?, self.text()?))).collect()
    }

    pub(crate) fn floats(&mut self) -> Result<Vec<f32>, Failure> {
        let length = self.length()?.checked_mul(4).ok_or_else(cut)?;
        let (floats, _) = self.take(length)?.as_chunks();
        Ok(floats.iter().map(|float| f32::from_le_bytes(*float)).collect())
    }

    fn length(&mut self) -> Result<usize, Failure> {
        usize::try_from(self.int()?).map_err(|_| cut())
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Failure> {
        let (array, rest) = self.rest.split_first_chunk().ok_or_else(cut)?;
        self.rest = rest;
        Ok(*array)
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], Failure> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or_else(cut)?;
        self.rest = rest;
        Ok(taken)
    }
}

/// Only Kotlin classes of another version write another thing than is read.
fn cut() -> Failure {
    Failure::internal("a request ends too early: classes and library are not of one version")
}

/// Writes what Kotlin reads.
#[derive(Default)]
pub(crate) struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    pub(crate) fn long(&mut self, value: i64) -> &mut Self {
        self.put(&value.to_le_bytes())
    }

    /// A size, an offset, a number of things: more than Java's `long` can hold there is not.
    pub(crate) fn size(&mut self, value: impl TryInto<i64>) -> &mut Self {
        self.long(value.try_into().unwrap_or(i64::MAX))
    }

    pub(crate) fn int(&mut self, value: i32) -> &mut Self {
        self.put(&value.to_le_bytes())
    }

    pub(crate) fn float(&mut self, value: f32) -> &mut Self {
        self.put(&value.to_le_bytes())
    }

    pub(crate) fn double(&mut self, value: f64) -> &mut Self {
        self.put(&value.to_le_bytes())
    }

    pub(crate) fn flag(&mut self, value: bool) -> &mut Self {
        self.put(&[value.into()])
    }

    pub(crate) fn text(&mut self, text: &str) -> &mut Self {
        self.length(text.len()).put(text.as_bytes())
    }

    pub(crate) fn list<T>(&mut self, entries: &[T], mut each: impl FnMut(&mut Self, &T)) -> &mut Self {
        self.length(entries.len());
        for entry in entries {
            each(self, entry);
        }
        self
    }

    pub(crate) fn texts(&mut self, texts: &[String]) -> &mut Self {
        self.list(texts, |out, text| {
            out.text(text);
        })
    }

    pub(crate) fn floats(&mut self, floats: &[f32]) -> &mut Self {
        self.list(floats, |out, float| {
            out.float(*float);
        })
    }

    /// What was written; too much for an array of Java's is a failure.
    pub(crate) fn finish(self) -> Result<Vec<u8>, Failure> {
        match i32::try_from(self.bytes.len()) {
            Ok(_) => Ok(self.bytes),
            Err(_) => Err(Failure::argument("the answer has more than 2 GiB: ask for less at a time")),
        }
    }

    /// A length past `i32::MAX` is written wrongly, and then refused by [`Writer::finish`]: its entries have a byte
    /// each at least.
    fn length(&mut self, length: usize) -> &mut Self {
        self.int(i32::try_from(length).unwrap_or(i32::MAX))
    }

    fn put(&mut self, bytes: &[u8]) -> &mut Self {
        self.bytes.extend_from_slice(bytes);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let mut out = Writer::default();
        out.long(-3)
            .int(7)
            .float(1.5)
            .double(-0.25)
            .flag(true)
            .text("é🙂")
            .texts(&["a".to_owned(), String::new()])
            .floats(&[1.0, -2.0]);
        let bytes = out.finish().unwrap();
        let mut reader = Reader::new(&bytes);
        assert_eq!((reader.long().unwrap(), reader.int().unwrap()), (-3, 7));
        assert_eq!((reader.float().unwrap(), reader.double().unwrap(), reader.flag().unwrap()), (1.5, -0.25, true));
        assert_eq!((reader.text().unwrap(), reader.texts().unwrap()), ("é🙂", vec!["a", ""]));
        assert_eq!(reader.floats().unwrap(), [1.0, -2.0]);
        assert!(reader.flag().is_err());
    }

    #[test]
    fn lengths_that_lie_are_refused() {
        for lie in [-1, 5, i32::MAX] {
            let bytes = lie.to_le_bytes();
            assert!(Reader::new(&bytes).bytes().is_err());
            assert!(Reader::new(&bytes).texts().is_err());
            assert!(Reader::new(&bytes).pairs().is_err());
            assert!(Reader::new(&bytes).floats().is_err());
        }
        let negative = (-4_i64).to_le_bytes();
        assert!(Reader::new(&negative).count("top_k").unwrap_err().to_string().contains("top_k is -4"));
    }

    #[test]
    fn bytes_that_are_no_text_are_refused() {
        let error = Reader::new(&[1, 0, 0, 0, 0xff]).text().unwrap_err();
        assert_eq!(error.code(), 2);
    }
}
