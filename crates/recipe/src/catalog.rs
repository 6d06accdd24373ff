//! Which keys there are, and what each may hold.

/// A table's keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Section {
    /// How errors call the table.
    pub name: String,
    /// What it is for, in a sentence.
    pub help: String,
    /// Its keys, in the order in which they are explained.
    pub keys: Vec<Key>,
}

/// A key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// As it is written.
    pub name: String,
    /// What it is for.
    pub help: String,
    /// What it may hold.
    pub kind: Kind,
    /// Whether it must be there.
    pub required: bool,
}

/// What a key may hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `true` or `false`.
    Flag,
    /// A whole number, not negative.
    Whole,
    /// A string or a number; one of these, where there are some.
    Scalar(Vec<String>),
    /// The same, or `true` for the usual value and `false` for none.
    Switch,
    /// A day, as TOML writes it or as a string.
    Day,
    /// One or an array of these.
    List(Box<Kind>),
    /// A string, an array of them, or a table that gives each a name.
    Named,
    /// A table.
    Section(Section),
    /// An array of tables that each hold exactly one of the keys.
    Alternatives(Section),
}

impl Section {
    /// The key of this name.
    pub(crate) fn key(&self, name: &str) -> Option<&Key> {
        self.keys.iter().find(|key| key.name == name)
    }
}

impl Kind {
    /// What is expected, in words.
    pub(crate) fn expected(&self) -> String {
        match self {
            Self::Flag => "true or false".to_owned(),
            Self::Whole => "a whole number from 0 on".to_owned(),
            Self::Scalar(values) if values.is_empty() => "a string or a number".to_owned(),
            Self::Scalar(values) => format!("one of {}", values.join(", ")),
            Self::Switch => "true, false, a string or a number".to_owned(),
            Self::Day => "a day such as 2026-01-31".to_owned(),
            Self::List(of) => format!("{}, or an array of these", of.expected()),
            Self::Named => "a string, an array of strings, or a table of them".to_owned(),
            Self::Section(_) => "a table".to_owned(),
            Self::Alternatives(_) => "an array of tables".to_owned(),
        }
    }
}
