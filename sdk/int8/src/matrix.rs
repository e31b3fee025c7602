//! 8-bit weights in the order in which they are read.

use super::sums;

/// Columns that lie side by side: the 32-bit sums of one AVX-512 register.
pub const COLUMNS: usize = 16;
/// Rows that lie side by side: what one 32-bit lane of a dot product takes.
pub const DEPTH: usize = 4;
/// Bits of a ternary code.
const TERNARY_BITS: usize = 2;
/// What does not fit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mismatch(pub String);

impl std::fmt::Display for Mismatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Mismatch {}

/// The most rows of a matrix, so that no sum of products leaves 32 bits: 127 * 255 * 2^16 < 2^31.
const MOST_INPUTS: usize = 1 << 16;

/// A matrix `[inputs, outputs]` of codes as an `EncoderLayer` takes it. Rows are filled up with zeros to a multiple of
/// [`DEPTH`], columns to one of [`COLUMNS`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PackedWeights {
    /// `[outputs / COLUMNS, inputs / DEPTH, COLUMNS, DEPTH]`, from -127 to 127.
    pub codes: Vec<i8>,
    /// One a column.
    pub scales: Vec<f32>,
    /// The sum of the codes of each column.
    pub sums: Vec<i32>,
    /// Rows, filled up.
    pub inputs: usize,
}

impl PackedWeights {
    /// The shape of `codes`.
    pub fn shape(&self) -> [usize; 4] {
        [self.scales.len() / COLUMNS, self.inputs / DEPTH, COLUMNS, DEPTH]
    }

    /// Columns of another matrix with as many rows, beside these.
    pub fn append(&mut self, other: PackedWeights) {
        self.codes.extend(other.codes);
        self.scales.extend(other.scales);
        self.sums.extend(other.sums);
        self.inputs = other.inputs;
    }
}

/// Packs codes `[inputs, outputs]`, row by row, with one scale a column.
///
/// # Errors
/// Codes or scales that do not fit each other, -128 among the codes, or more rows than sums can hold.
pub fn pack(codes: &[i8], scales: &[f32]) -> Result<PackedWeights, Mismatch> {
    let outputs = scales.len();
    let inputs = codes.len().checked_div(outputs).unwrap_or(0);
    let wrong = |what: &str| Err(Mismatch(format!("weights {what}")));
    if inputs == 0 || codes.len() != inputs * outputs {
        return wrong("do not have a row of codes for each input and a scale for each output");
    }
    if inputs > MOST_INPUTS {
        return wrong("have more than 65536 rows");
    }
    if codes.contains(&i8::MIN) {
        return wrong("have the code -128; codes are from -127 to 127");
    }
    let (depth, columns) = (inputs.next_multiple_of(DEPTH), outputs.next_multiple_of(COLUMNS));
    let mut packed = PackedWeights {
        codes: vec![0; depth * columns],
        scales: vec![0.0; columns],
        sums: vec![0; columns],
        inputs: depth,
    };
    packed.scales[..outputs].copy_from_slice(scales);
    for (row, codes) in codes.chunks_exact(outputs).enumerate() {
        for (column, &code) in codes.iter().enumerate() {
            let panel = column / COLUMNS * COLUMNS * depth;
            let place = panel + row / DEPTH * COLUMNS * DEPTH + column % COLUMNS * DEPTH + row % DEPTH;
            packed.codes[place] = code;
            packed.sums[column] += i32::from(code);
        }
    }
    Ok(packed)
}

/// Codes -1, 0 and 1 of 2 bits each: those that [`PackedWeights`] has in [`DEPTH`] bytes side by side are one byte here,
/// the first in the lowest bits, as two's complement.
///
/// # Errors
/// Other codes.
pub fn pack_ternary(codes: &[i8]) -> Result<Vec<u8>, Mismatch> {
    if let Some(other) = codes.iter().find(|code| !(-1..=1).contains(*code)) {
        return Err(Mismatch(format!("weights have the code {other}; ternary codes are -1, 0 and 1")));
    }
    let byte = |codes: &[i8]| {
        codes.iter().rev().fold(0u8, |byte, &code| byte << TERNARY_BITS | (code as u8 & ((1 << TERNARY_BITS) - 1)))
    };
    Ok(codes.chunks(DEPTH).map(byte).collect())
}

/// Whether bytes hold no other codes than [`pack_ternary`] writes: -2, which is 0b10, is none of them.
pub fn all_ternary(bytes: &[u8]) -> bool {
    bytes.iter().fold(0, |found, byte| found | ((byte >> 1) & !byte & 0x55)) == 0
}

/// Codes of a matrix, where a session has them.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Codes<'a> {
    /// A byte each.
    Bytes(&'a [i8]),
    /// 2 bits each: [`pack_ternary`].
    Ternary(&'a [u8]),
}

/// Packed weights and a bias, where a session has them.
#[derive(Clone, Copy, Debug)]
pub struct Matrix<'a> {
    pub(crate) codes: Codes<'a>,
    pub(crate) scales: &'a [f32],
    // Where codes of rows are signed, no path reads them.
    #[cfg_attr(not(target_arch = "x86_64"), allow(dead_code))]
    pub(crate) sums: &'a [i32],
    pub(crate) bias: &'a [f32],
    /// Rows, a multiple of [`DEPTH`].
    pub(crate) inputs: usize,
}

impl<'a> Matrix<'a> {
    /// The codes of `shape`, the other parts with a value for each column.
    ///
    /// # Errors
    /// Parts that do not fit each other; -128 among the codes; sums that are not those of the codes; scales and biases that
    /// are not finite.
    pub fn new(
        shape: &[i64],
        codes: &'a [i8],
        scales: &'a [f32],
        sums: &'a [i32],
        bias: &'a [f32],
    ) -> Result<Self, Mismatch> {
        let &[panels, depth, columns, rows] = shape else {
            return Err(Mismatch(format!("codes of the shape {shape:?}, which has not four axes")));
        };
        if (columns, rows) != (COLUMNS as i64, DEPTH as i64) {
            return Err(Mismatch(format!(
                "codes of the shape {shape:?}, which does not end with {COLUMNS} and {DEPTH}"
            )));
        }
        Self::of(shape, [panels, depth], (Codes::Bytes(codes), codes.len()), scales, sums, bias)
    }

    /// The same of codes of 2 bits, `[outputs / COLUMNS, inputs / DEPTH, COLUMNS]` bytes.
    ///
    /// # Errors
    /// Parts that do not fit each other; codes other than -1, 0 and 1; sums that are not those of the codes; scales and
    /// biases that are not finite.
    pub fn ternary(
        shape: &[i64],
        codes: &'a [u8],
        scales: &'a [f32],
        sums: &'a [i32],
        bias: &'a [f32],
    ) -> Result<Self, Mismatch> {
        let &[panels, depth, columns] = shape else {
            return Err(Mismatch(format!("ternary codes of the shape {shape:?}, which has not three axes")));
        };
        if columns != COLUMNS as i64 {
            return Err(Mismatch(format!("ternary codes of the shape {shape:?}, which does not end with {COLUMNS}")));
        }
        let count = codes.len().saturating_mul(DEPTH);
        if !all_ternary(codes) {
            return Err(Mismatch("ternary codes with -2 among them, where only -1, 0 and 1 may be".to_owned()));
        }
        Self::of(shape, [panels, depth], (Codes::Ternary(codes), count), scales, sums, bias)
    }

    fn of(
        shape: &[i64],
        size: [i64; 2],
        (codes, count): (Codes<'a>, usize),
        scales: &'a [f32],
        sums: &'a [i32],
        bias: &'a [f32],
    ) -> Result<Self, Mismatch> {
        let wrong = |what: String| Err(Mismatch(what));
        let [Ok(panels), Ok(depth)] = size.map(usize::try_from) else {
            return wrong(format!("codes of the shape {shape:?}"));
        };
        let (inputs, outputs) = (depth.saturating_mul(DEPTH), panels.saturating_mul(COLUMNS));
        if inputs == 0 || inputs > MOST_INPUTS || outputs == 0 || count != inputs.saturating_mul(outputs) {
            return wrong(format!("{count} codes for the shape {shape:?}"));
        }
        if [scales.len(), sums.len(), bias.len()] != [outputs; 3] {
            return wrong(format!(
                "{} scales, {} sums and {} biases for {outputs} columns",
                scales.len(),
                sums.len(),
                bias.len()
            ));
        }
        for (name, values) in [("scales", scales), ("biases", bias)] {
            if let Some(value) = values.iter().find(|value| !value.is_finite()) {
                return wrong(format!("{name} with {value} among them"));
            }
        }
        sums::check(codes, inputs, sums)?;
        Ok(Matrix { codes, scales, sums, bias, inputs })
    }

    /// Columns, a multiple of [`COLUMNS`].
    pub(super) fn outputs(&self) -> usize {
        self.scales.len()
    }

    /// Groups of [`COLUMNS`] columns.
    pub(super) fn panels(&self) -> usize {
        self.scales.len() / COLUMNS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_where_its_row_and_column_say() {
        let (inputs, outputs) = (6, 18);
        let codes: Vec<i8> = (0..inputs * outputs).map(|i| (i % 200) as i8 % 100).collect();
        let packed = pack(&codes, &[0.5; 18]).unwrap();
        assert_eq!((packed.shape(), packed.inputs), ([2, 2, 16, 4], 8));
        for row in 0..8 {
            for column in 0..32 {
                let place = (((column / 16) * 2 + row / 4) * 16 + column % 16) * 4 + row % 4;
                let expected = if row < inputs && column < outputs { codes[row * outputs + column] } else { 0 };
                assert_eq!(packed.codes[place], expected, "{row} {column}");
            }
        }
        for column in 0..32 {
            let sum: i32 =
                (0..inputs).filter(|_| column < outputs).map(|r| i32::from(codes[r * outputs + column])).sum();
            assert_eq!(packed.sums[column], sum);
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        for (codes, scales) in [(vec![1; 7], vec![1.0; 2]), (vec![], vec![]), (vec![-128; 4], vec![1.0; 2])] {
            assert!(pack(&codes, &scales).is_err());
        }
        let (codes, numbers, sums) = ([0; 64], [0.0; 16], [0; 16]);
        let matrix = |shape: &[i64], codes| Matrix::new(shape, codes, &numbers, &sums, &numbers);
        assert!(matrix(&[1, 1, 16, 4], &codes).is_ok());
        for (shape, length) in [
            (vec![1, 1, 4, 16], 64),
            (vec![1, 16, 4], 64),
            (vec![-1, 1, 16, 4], 64),
            (vec![1, 2, 16, 4], 64),
            (vec![0, 1, 16, 4], 0),
            (vec![1, 0, 16, 4], 0),
            (vec![i64::MAX, i64::MAX, 16, 4], 64),
        ] {
            assert!(matrix(&shape, &codes[..length]).is_err(), "{shape:?}");
        }
        assert!(Matrix::new(&[1, 1, 16, 4], &codes, &numbers[1..], &sums, &numbers).is_err());
        let bytes = [0; 16];
        let ternary = |shape: &[i64], bytes| Matrix::ternary(shape, bytes, &numbers, &sums, &numbers);
        assert!(ternary(&[1, 1, 16], &bytes).is_ok());
        for (shape, length) in [
            (vec![1, 1, 16, 4], 16),
            (vec![1, 1, 4], 16),
            (vec![1, 2, 16], 16),
            (vec![1, 1, 16], 15),
            (vec![-1, 1, 16], 16),
            (vec![0, 1, 16], 0),
            (vec![i64::MAX, i64::MAX, 16], 16),
        ] {
            assert!(ternary(&shape, &bytes[..length]).is_err(), "{shape:?}");
        }
        assert!(Matrix::ternary(&[1, 1, 16], &bytes, &numbers, &sums[1..], &numbers).is_err());
        for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut wrong = numbers;
            wrong[15] = value;
            for (scales, bias, name) in [(&wrong, &numbers, "scales"), (&numbers, &wrong, "biases")] {
                for refused in [
                    Matrix::new(&[1, 1, 16, 4], &codes, scales, &sums, bias),
                    Matrix::ternary(&[1, 1, 16], &bytes, scales, &sums, bias),
                ] {
                    assert_eq!(refused.unwrap_err().0, format!("{name} with {value} among them"));
                }
            }
        }
    }

    #[test]
    fn every_byte_with_another_code_is_refused() {
        let (numbers, sums) = ([0.0; 16], [0; 16]);
        for byte in 0..=u8::MAX {
            let right = (0..4).all(|place| byte >> (2 * place) & 3 != 0b10);
            for place in [0, 9, 15] {
                let (mut bytes, mut sums) = ([0; 16], sums);
                bytes[place] = byte;
                sums[place] = (0..4).map(|code| i32::from((byte << (6 - 2 * code)) as i8 >> 6)).sum();
                assert_eq!(Matrix::ternary(&[1, 1, 16], &bytes, &numbers, &sums, &numbers).is_ok(), right, "{byte:#b}");
            }
        }
    }

    #[test]
    fn four_ternary_codes_are_a_byte() {
        assert_eq!(pack_ternary(&[1, 0, -1, 1, 0, 0, 0, -1]).unwrap(), [0b01_11_00_01, 0b11_00_00_00]);
        for code in [2, -2, 127] {
            assert!(pack_ternary(&[0, code, 0, 0]).unwrap_err().0.contains(&format!("the code {code};")));
        }
    }
}
