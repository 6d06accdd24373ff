//! What the report of a run is called.

/// In a folder.
pub const REPORT_NAME: &str = "llmopt.json";

/// What was measured of an artifact, beside it in its folder.
pub const EVALUATION_NAME: &str = "evaluation.json";

/// Beside a single file of weights: `NAME.llmopt.json` for `NAME.safetensors`.
pub fn report_name_beside(file: &str) -> String {
    let stem = file.strip_suffix(".safetensors").unwrap_or(file);
    format!("{stem}.{REPORT_NAME}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_s_report_has_its_name() {
        assert_eq!(report_name_beside("model.safetensors"), "model.llmopt.json");
        assert_eq!(report_name_beside("weights"), "weights.llmopt.json");
    }
}
