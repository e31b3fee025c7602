//! What a graph may refer to: only the weights of its own bundle.
//!
//! A tensor of an ONNX file can say "my data are in that file at that offset",
//! and ONNX Runtime follows: to any file the process may read, and for some
//! reserved names to addresses in memory. So every such reference in a graph
//! is read here before ONNX Runtime sees it. The walk knows just enough of the
//! protobuf encoding and of onnx.proto to reach every tensor.

use crate::BundleError;

/// Messages nested deeper than this are refused; protobuf itself stops at 100.
const MAX_DEPTH: usize = 64;

/// Checks that all external data of `graph` lie in a file called `file` of
/// `length` bytes.
pub(super) fn check(graph: &[u8], file: &str, length: u64) -> Result<(), BundleError> {
    walk(Message::Model, graph, 0, &|tensor| check_tensor(tensor, file, length))
}

/// The messages of onnx.proto on the way to a tensor.
#[derive(Clone, Copy, Debug)]
enum Message {
    Model,
    Training,
    Graph,
    Function,
    Node,
    Attribute,
    SparseTensor,
    Tensor,
}

impl Message {
    /// What a field of this message holds, if it leads to a tensor.
    fn field(self, number: u64) -> Option<Message> {
        use Message::*;
        Some(match (self, number) {
            (Model, 7) | (Training, 1 | 2) | (Attribute, 6 | 11) => Graph,
            (Model, 20) => Training,
            (Model, 25) => Function,
            (Graph, 1) | (Function, 7) => Node,
            (Node, 5) | (Function, 11) => Attribute,
            (Graph, 15) | (Attribute, 22 | 23) => SparseTensor,
            (Graph, 5) | (Attribute, 5 | 10) | (SparseTensor, 1 | 2) => Tensor,
            _ => return None,
        })
    }
}

fn walk(
    message: Message,
    bytes: &[u8],
    depth: usize,
    tensor: &dyn Fn(&[u8]) -> Result<(), BundleError>,
) -> Result<(), BundleError> {
    if depth > MAX_DEPTH {
        return Err(problem("its messages are nested too deeply"));
    }
    if matches!(message, Message::Tensor) {
        return tensor(bytes);
    }
    for field in Fields(bytes) {
        let (number, value) = field?;
        if let (Some(child), Some(bytes)) = (message.field(number), value) {
            walk(child, bytes, depth + 1, tensor)?;
        }
    }
    Ok(())
}

fn check_tensor(tensor: &[u8], file: &str, length: u64) -> Result<(), BundleError> {
    const EXTERNAL_DATA: u64 = 13;
    const NAME: u64 = 8;
    let mut name = "";
    let (mut external, mut location, mut offset, mut size) = (false, None, None, None);
    for field in Fields(tensor) {
        match field? {
            (NAME, Some(bytes)) => name = std::str::from_utf8(bytes).unwrap_or("?"),
            (EXTERNAL_DATA, Some(entry)) => {
                external = true;
                let (key, value) = entry_of(entry)?;
                let slot = match key {
                    b"location" => &mut location,
                    b"offset" => &mut offset,
                    b"length" => &mut size,
                    // A checksum or a note; nothing goes by them.
                    _ => continue,
                };
                if slot.replace(value).is_some() {
                    return Err(problem(&format!("a tensor says twice where its data are: `{}`", short(name))));
                }
            }
            _ => {}
        }
    }
    if !external {
        return Ok(());
    }
    if location != Some(file.as_bytes()) {
        let place = location.map_or("no place".into(), String::from_utf8_lossy);
        return Err(problem(&format!(
            "the tensor `{}` has its data in `{}`, and only `{file}` is allowed",
            short(name),
            short(&place)
        )));
    }
    let number = |value: Option<&[u8]>, default: u64| match value {
        None => Some(default),
        // `parse` alone would take a plus sign.
        Some(text) if text.iter().all(u8::is_ascii_digit) => std::str::from_utf8(text).ok()?.parse().ok(),
        Some(_) => None,
    };
    let end = number(offset, 0).and_then(|offset| offset.checked_add(number(size, 0)?));
    match end {
        Some(end) if end <= length => Ok(()),
        _ => Err(problem(&format!(
            "the data of the tensor `{}` lie outside of the {length} bytes of `{file}`",
            short(name)
        ))),
    }
}

fn entry_of(entry: &[u8]) -> Result<(&[u8], &[u8]), BundleError> {
    let (mut key, mut value) = (&b""[..], &b""[..]);
    for field in Fields(entry) {
        match field? {
            (1, Some(bytes)) => key = bytes,
            (2, Some(bytes)) => value = bytes,
            _ => {}
        }
    }
    Ok((key, value))
}

fn short(text: &str) -> String {
    text.chars().take(80).collect()
}

fn problem(text: &str) -> BundleError {
    BundleError::Graph(text.to_owned())
}

/// The fields of a message: number, and the bytes if it is of the kind that
/// has a length.
struct Fields<'a>(&'a [u8]);

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u64, Option<&'a [u8]>), BundleError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_none() {
            self.0 = &[];
        }
        Some(field.ok_or_else(|| problem("it is not an ONNX file, or it is cut off")))
    }
}

impl<'a> Fields<'a> {
    fn field(&mut self) -> Option<(u64, Option<&'a [u8]>)> {
        let key = self.varint()?;
        let value = match key & 7 {
            0 => {
                self.varint()?;
                None
            }
            1 => {
                self.take(8)?;
                None
            }
            2 => {
                let length = usize::try_from(self.varint()?).ok()?;
                Some(self.take(length)?)
            }
            5 => {
                self.take(4)?;
                None
            }
            _ => return None,
        };
        Some((key >> 3, value))
    }

    fn varint(&mut self) -> Option<u64> {
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn field(number: u8, content: &[u8]) -> Vec<u8> {
        assert!(content.len() < 128 * 128, "two bytes of length are enough here");
        let key = u64::from(number) << 3 | 2;
        let mut bytes = Vec::new();
        for mut value in [key, content.len() as u64] {
            while value >= 0x80 {
                bytes.push(value as u8 | 0x80);
                value >>= 7;
            }
            bytes.push(value as u8);
        }
        bytes.extend_from_slice(content);
        bytes
    }

    fn tensor(entries: &[(&str, &str)]) -> Vec<u8> {
        let mut bytes = field(8, b"w");
        for (key, value) in entries {
            bytes.extend(field(13, &[field(1, key.as_bytes()), field(2, value.as_bytes())].concat()));
        }
        bytes
    }

    fn in_initializer(tensor: &[u8]) -> Vec<u8> {
        field(7, &field(5, tensor))
    }

    fn message(graph: &[u8]) -> String {
        check(graph, "model.onnx.data", 1000).unwrap_err().to_string()
    }

    #[test]
    fn data_inside_the_weights_pass() {
        for entries in [
            &[("location", "model.onnx.data"), ("offset", "600"), ("length", "400")][..],
            &[("location", "model.onnx.data")],
            &[],
        ] {
            check(&in_initializer(&tensor(entries)), "model.onnx.data", 1000).unwrap();
        }
    }

    #[test]
    fn other_places_are_refused() {
        for place in ["/etc/passwd", "../model.onnx.data", "*/_ORT_MEM_ADDR_/*", ""] {
            let text = message(&in_initializer(&tensor(&[("location", place), ("length", "4")])));
            assert!(text.contains("only `model.onnx.data` is allowed"), "{text}");
        }
        assert!(message(&in_initializer(&tensor(&[("length", "4")]))).contains("`no place`"));
    }

    #[test]
    fn tensors_are_found_wherever_they_hide() {
        let bad = tensor(&[("location", "/etc/passwd")]);
        let node = |attribute: &[u8]| field(1, &field(5, attribute));
        for graph in [
            in_initializer(&bad),
            field(7, &node(&field(5, &bad))),
            field(7, &node(&field(10, &bad))),
            field(7, &node(&field(6, &field(5, &bad)))),
            field(7, &node(&field(11, &node(&field(5, &bad))))),
            field(7, &field(15, &field(1, &bad))),
            field(7, &node(&field(22, &field(2, &bad)))),
            field(25, &field(7, &field(5, &field(5, &bad)))),
            field(20, &field(2, &field(5, &bad))),
            [field(7, b""), field(7, &field(5, &bad))].concat(),
        ] {
            assert!(message(&graph).contains("/etc/passwd"));
        }
    }

    #[test]
    fn ranges_outside_of_the_weights_are_refused() {
        for (offset, length) in [
            ("601", "400"),
            ("0", "1001"),
            ("18446744073709551615", "2"),
            ("18446744073709551616", "0"),
            ("-1", "4"),
            ("+1", "4"),
            ("x", "4"),
        ] {
            let text = message(&in_initializer(&tensor(&[
                ("location", "model.onnx.data"),
                ("offset", offset),
                ("length", length),
            ])));
            assert!(text.contains("lie outside"), "{offset} {length}: {text}");
        }
        let twice = tensor(&[("location", "model.onnx.data"), ("offset", "0"), ("offset", "8")]);
        assert!(message(&in_initializer(&twice)).contains("twice"));
    }

    #[test]
    fn deep_nesting_is_refused() {
        let mut graph = field(5, &tensor(&[]));
        for _ in 0..MAX_DEPTH {
            graph = field(1, &field(5, &field(6, &graph)));
        }
        assert!(message(&field(7, &graph)).contains("too deeply"));
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = check(&bytes, "model.onnx.data", 1000);
            let _ = check(&field(7, &field(5, &bytes)), "model.onnx.data", 1000);
        }
    }
}
