//! On which side of its limit a metric must be.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Relation {
    AtMost,
    Below,
    AtLeast,
    Above,
}

impl Relation {
    /// The relation with which `text` begins, and what comes after it.
    pub(super) fn starting(text: &str) -> Option<(Self, &str)> {
        // The longer signs first: `<=` begins with `<`.
        let all = [Self::AtMost, Self::AtLeast, Self::Below, Self::Above];
        all.into_iter().find_map(|relation| Some((relation, text.strip_prefix(relation.sign())?)))
    }

    /// Whether a value is on the right side; one that is no number never is.
    pub(super) fn holds(self, value: f64, limit: f64) -> bool {
        match self {
            Self::AtMost => value <= limit,
            Self::Below => value < limit,
            Self::AtLeast => value >= limit,
            Self::Above => value > limit,
        }
    }

    pub(super) fn sign(self) -> &'static str {
        match self {
            Self::AtMost => "<=",
            Self::Below => "<",
            Self::AtLeast => ">=",
            Self::Above => ">",
        }
    }
}
