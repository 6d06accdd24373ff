//! Methods by their names: how scales and codes are chosen.

use llmopt_calib::Needs;
use llmopt_linalg::{Gemm, kept_bytes};
use llmopt_quant::{Nearest, Quantizer, Search, Settings, Solver, squared_outputs_bytes};
use llmopt_scheme::Scheme;
use serde::{Serialize, Serializer};
use std::fmt;
use std::str::FromStr;

/// How scales and codes are chosen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Method {
    /// Round to nearest, on a scale from the absolute maximum.
    Rtn,
    /// The scale that loses least, weighted by the inputs' second moments where there are any.
    Search,
    /// GPTQ and its family, by name: errors are made up for by the weights that are still to be rounded.
    Solved(&'static str),
    /// Of several methods, for each site the one that does best on windows held out.
    Auto,
}

/// A name that is no method.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no method `{0}`; there are {list}", list = Method::NAMES.join(", "))]
pub struct UnknownMethod(pub String);

impl Method {
    /// The names of all methods.
    pub const NAMES: &[&str] = &["auto", "search", "rtn", "gptq", "gptq+cd", "qep", "qep+cd"];

    /// The best method that needs nothing but Gram matrices.
    pub(crate) const OF_GRAMS: Self = Self::Solved("gptq+cd");

    /// The method whose artifact that of [`Method::Auto`] is judged against as a whole. It needs no data, and
    /// so is not among what the windows held out choose from site by site.
    pub(crate) const RIVAL: Self = Self::Rtn;

    /// Whether it does anything with what inputs show.
    pub fn calibrates(self) -> bool {
        self != Self::Rtn
    }

    /// Whether it can do without.
    pub fn is_data_free(self) -> bool {
        matches!(self, Self::Rtn | Self::Search)
    }

    /// The quantizer for matrices whose inputs are not observed.
    pub(crate) fn quantizer(self) -> &'static dyn Quantizer {
        match self {
            Self::Rtn => &Nearest,
            _ => &Search,
        }
    }

    /// The methods among which this one chooses, the plainest first.
    pub(crate) fn candidates(self) -> Vec<Self> {
        match self {
            Self::Auto => CANDIDATES.map(Self::Solved).to_vec(),
            method => vec![method],
        }
    }

    /// The sums over inputs that it asks for.
    pub(crate) fn needs(self) -> Needs {
        let settings = self.settings();
        let cross = settings.is_some_and(|settings| settings.needs_cross());
        Needs { gram: settings.is_some(), cross, ..Needs::default() }
    }

    /// What its solver does, if it has one.
    pub(crate) fn settings(self) -> Option<Settings> {
        match self {
            Self::Solved(name) => Settings::named(name),
            _ => None,
        }
    }

    /// What it takes beside the weights, for a matrix of this size; what it returns is part of it.
    pub(crate) fn working_bytes(
        self,
        gemm: Gemm,
        rows: usize,
        columns: usize,
        scheme: &Scheme,
        threads: usize,
    ) -> u64 {
        match self {
            Self::Solved(_) => {
                let gemm = gemm.in_f32();
                let quantizing = Solver::quantize_bytes(gemm, rows, columns, scheme, threads);
                let preparing = Solver::prepare_bytes(gemm, columns, threads);
                // What rounding leaves is judged while the solver is there, and threads still keep
                // what solving took.
                let errors = (rows * columns * size_of::<f32>() + kept_bytes(threads)) as u64;
                let judging = errors + squared_outputs_bytes(gemm, rows, columns, threads);
                preparing.max(Solver::bytes(columns) + quantizing.max(judging))
            }
            method => method.quantizer().working_bytes(rows, columns, scheme) as u64,
        }
    }
}

/// What [`Method::Auto`] chooses from. One solver serves all of them, and those that differ in descent alone
/// follow one another, so that they share what is rounded before it.
const CANDIDATES: [&str; 3] = ["gptq", "gptq+cd", "qep+cd"];

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Rtn => "rtn",
            Self::Search => "search",
            Self::Solved(name) => name,
            Self::Auto => "auto",
        })
    }
}

impl FromStr for Method {
    type Err = UnknownMethod;

    fn from_str(name: &str) -> Result<Self, UnknownMethod> {
        match name {
            "rtn" => Ok(Self::Rtn),
            "search" => Ok(Self::Search),
            "auto" => Ok(Self::Auto),
            _ => {
                let known = Settings::NAMES.iter().find(|known| **known == name);
                known.map(|known| Self::Solved(known)).ok_or_else(|| UnknownMethod(name.to_owned()))
            }
        }
    }
}

impl Serialize for Method {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_a_method_that_has_it() {
        for name in Method::NAMES {
            let method: Method = name.parse().expect("a name that is listed");
            assert_eq!(method.to_string(), *name);
        }
        let solved = Method::NAMES.iter().filter(|name| Settings::NAMES.contains(name)).count();
        assert_eq!(solved, Settings::NAMES.len(), "every solver is listed");
        assert!("gptq+".parse::<Method>().is_err());
    }

    #[test]
    fn the_candidates_share_a_solver() {
        let settings: Vec<Settings> =
            Method::Auto.candidates().into_iter().filter_map(Method::settings).collect();
        assert_eq!(settings.len(), CANDIDATES.len());
        assert!(settings.iter().all(|other| settings[0].shares_solver(other)));
        assert_eq!(settings[0].correction, settings[1].correction);
    }

    #[test]
    fn methods_ask_for_what_they_use() {
        let needs = |name: &str| name.parse::<Method>().expect("a name").needs();
        assert_eq!(needs("search"), Needs::default());
        assert_eq!(needs("gptq+cd"), Needs { gram: true, ..Needs::default() });
        assert_eq!(needs("qep"), Needs { gram: true, cross: true, ..Needs::default() });
    }
}
