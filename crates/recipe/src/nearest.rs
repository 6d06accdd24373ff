//! The name that was probably meant.

/// Of `names` the one that is nearest to `name`; none, if all are far.
pub(crate) fn nearest<'a>(name: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let spelled = name.to_lowercase().replace('_', "-");
    let distance = |other: &str| strsim::osa_distance(&spelled, other);
    let (found, best) = names.map(|other| (other, distance(other))).min_by_key(|found| found.1)?;
    (best <= 1 + spelled.chars().count() / 4).then_some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_near_and_another_word_is_far() {
        let names = ["group-size", "bits", "method", "sparsity"];
        let near = |name| nearest(name, names.into_iter());
        assert_eq!(near("group_size"), Some("group-size"));
        assert_eq!(near("grop-sise"), Some("group-size"));
        assert_eq!(near("bit"), Some("bits"));
        assert_eq!(near("sparsty"), Some("sparsity"));
        assert_eq!(near("axes"), None);
        assert_eq!(near(""), None);
    }
}
