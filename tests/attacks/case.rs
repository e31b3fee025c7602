//! One damaged file and what must become of it.

use limbeck::Code;

/// What opening the file must give.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Opens,
    Refused(Code),
}

/// A file, its name in messages, and the one right outcome.
pub struct Case {
    pub name: String,
    pub bytes: Vec<u8>,
    pub outcome: Outcome,
    /// What the error message must name besides the file: a section, a field, a part.
    pub names: Option<String>,
}

/// Cases under construction.
#[derive(Default)]
pub struct Cases(pub Vec<Case>);

impl Cases {
    pub fn refused(&mut self, name: impl Into<String>, bytes: impl Into<Vec<u8>>, code: Code) -> &mut Case {
        self.add(name.into(), bytes.into(), Outcome::Refused(code))
    }

    pub fn opens(&mut self, name: impl Into<String>, bytes: impl Into<Vec<u8>>) -> &mut Case {
        self.add(name.into(), bytes.into(), Outcome::Opens)
    }

    fn add(&mut self, name: String, bytes: Vec<u8>, outcome: Outcome) -> &mut Case {
        let at = self.0.len();
        self.0.push(Case { name, bytes, outcome, names: None });
        &mut self.0[at]
    }
}

impl Case {
    /// The message must contain this.
    pub fn naming(&mut self, text: impl Into<String>) {
        self.names = Some(text.into());
    }
}
