//! The end: what was found is solved for by the best method there is, judged, and put where it will be published.

use crate::made::Made;
use crate::mixed::plan::{MixedPlan, method_of_final};
use crate::mixed::report::{MixedCandidate, MixedReport};
use crate::mixed::request::Goal;
use crate::mixed::run::Work;
use crate::mixed::search::{Searched, Tried};
use crate::mixed::size::Sizes;
use crate::mixed::table::Table;
use crate::mixed::units::Choice;
use crate::recipe::Recipe;
use crate::report::Report;
use llmopt_checkpoint::{Output as Staged, REPORT_NAME, read_bytes};
use llmopt_eval::WindowKlds;
use llmopt_measure::judged_by_window;
use llmopt_model::{Variant, report_file};
use llmopt_run::Error;
use llmopt_sweep::Run;
use serde::Serialize;
use std::path::PathBuf;

/// The last steps of a run.
pub(super) struct Finish<'a> {
    pub(super) work: &'a Work<'a>,
    pub(super) table: &'a Table,
}

/// An artifact that was solved for.
pub(super) struct Solved {
    /// How it was found, or the name of the choice that all units have.
    name: String,
    /// What each unit got; none, if that is one choice.
    taken: Option<Vec<usize>>,
    made: Made,
    /// Bytes of its units.
    bytes: u64,
}

impl Finish<'_> {
    fn plan(&self) -> &MixedPlan {
        self.work.plan
    }

    /// The uniform choice that is to be beaten, and the bytes of a record, about. The choice is solved for now: its
    /// record is as long as the mixed artifact's but for what that tells of its allocation.
    pub(super) fn uniform(&self, folders: &[PathBuf]) -> Result<(Option<Solved>, u64), Error> {
        let (candidates, of_allocation) = (&self.plan().candidates, self.allocation_bytes()?);
        let goal = candidates.goal_bytes().unwrap_or(u64::MAX);
        for &choice in &candidates.uniform {
            let solved = self.solved_everywhere(choice)?;
            let record = report_bytes(&solved.made.report)?.len() as u64 + of_allocation;
            if candidates.measured(Sizes::of(&solved.made.plan), record) <= goal {
                return Ok((Some(solved), record));
            }
            solved.made.staged.discard()?;
        }
        let mut record = 0;
        for folder in folders {
            let path = folder.join(REPORT_NAME);
            record = record.max(read_bytes(&path, report_file::LIMIT)?.len() as u64);
        }
        Ok((None, record + of_allocation))
    }

    /// Bytes that a record says of an allocation: schemes of most units, and the table.
    fn allocation_bytes(&self) -> Result<u64, Error> {
        let candidates = &self.plan().candidates;
        // Two of three units differ from the most common choice, which is more than do as a rule.
        let units = candidates.bytes.iter().enumerate();
        let there = |(number, of): (usize, &Vec<Option<u64>>)| {
            let mut there = (0..of.len() - 1).filter(|&choice| of[choice].is_some());
            let first = there.next().unwrap_or(of.len() - 1);
            if number % 3 == 0 { first } else { there.next().unwrap_or(first) }
        };
        let taken: Vec<usize> = units.map(there).collect();
        let recipe = candidates.recipe_of(&taken, None, method_of_final(self.recipe()));
        let report = MixedReport::new(self.plan(), self.table, &[]);
        let none = vec![0; taken.len()];
        let report = report
            .with_units(self.plan(), self.table, &none, |unit| candidates.choice_name(taken[unit]));
        Ok(bytes_within(&recipe.schemes, 2)?
            + bytes_within(&report, 1)?
            + CANDIDATES * BYTES_OF_CANDIDATE)
    }

    fn recipe(&self) -> &Recipe {
        &self.plan().request.recipe.recipe
    }

    /// Solves for a choice that every unit has.
    fn solved_everywhere(&self, choice: Choice) -> Result<Solved, Error> {
        let (calibrate, method) = (self.plan().calibrate.clone(), method_of_final(self.recipe()));
        let recipe = self.plan().candidates.choice_recipe(choice, calibrate, method);
        self.solved(&format!("uniform {choice}"), "uniform", None, &recipe)
    }

    /// Solves for an allocation.
    fn solved_mixed(&self, tried: &Tried, folder: &str) -> Result<Solved, Error> {
        let (calibrate, method) = (self.plan().calibrate.clone(), method_of_final(self.recipe()));
        let recipe = self.plan().candidates.recipe_of(&tried.taken, calibrate, method);
        self.solved(&tried.name, folder, Some(tried.taken.clone()), &recipe)
    }

    /// An artifact; an earlier attempt at it is gone on with.
    fn solved(
        &self,
        name: &str,
        folder: &str,
        taken: Option<Vec<usize>>,
        recipe: &Recipe,
    ) -> Result<Solved, Error> {
        self.work.shown.0.note(&format!("solving for {name}"));
        let path = self.work.folder.join(folder);
        let made = Made::new(self.plan().candidates.planned_at(&path, recipe)?, self.work.shown)?;
        let bytes = self.plan().candidates.bytes_in(&made.plan).iter().sum();
        Ok(Solved { name: name.to_owned(), taken, made, bytes })
    }

    /// Solves for what was found, takes the best of that and of a uniform choice that was solved for before, and puts
    /// its files where they will be published. Returns its report and their names.
    pub(super) fn published(
        &self,
        searched: &Searched,
        uniform: Option<Solved>,
        (record, staged): (u64, &Staged),
    ) -> Result<(Report, Vec<String>), Error> {
        let mut solved: Vec<Solved> = uniform.into_iter().collect();
        if let Some(choice) = searched.uniform {
            solved.push(self.solved_everywhere(choice)?);
        }
        let mut report = MixedReport::new(self.plan(), self.table, &searched.tried);
        let mut klds = self.judged(&mut report, &solved)?;
        for (number, &mixed) in searched.mixed.iter().enumerate() {
            let found = self.solved_mixed(&searched.tried[mixed], &format!("mixed-{number}"))?;
            let of = self.judged(&mut report, std::slice::from_ref(&found))?;
            let holds = self.holds(&of[0]);
            klds.extend(of);
            solved.push(found);
            if holds {
                break;
            }
        }
        let best = self.best(&solved, &klds)?;
        let taken = solved.swap_remove(best);
        report.chosen = taken.name.clone();
        report.is_uniform = taken.taken.is_none();
        let bytes = self.plan().candidates.bytes_in(&taken.made.plan);
        let report = match &taken.taken {
            Some(of) => report.with_units(self.plan(), self.table, &bytes, |unit| {
                self.plan().candidates.choice_name(of[unit])
            }),
            None => report.with_units(self.plan(), self.table, &bytes, |_| taken.name.clone()),
        };
        self.gather(taken.made, report, record, staged)
    }

    /// What was solved for, held against the original.
    fn judged(
        &self,
        report: &mut MixedReport,
        solved: &[Solved],
    ) -> Result<Vec<WindowKlds>, Error> {
        if solved.is_empty() {
            return Ok(Vec::new());
        }
        let MixedPlan { variant, engine, resources, scratch, memory, judges, .. } = self.plan();
        let mut variants = vec![variant.clone()];
        for solved in solved {
            variants.push(Variant::open(solved.made.staged.partial_path())?);
        }
        let (events, cancel) = self.work.shown;
        let run = Run { engine, resources: *resources, scratch, events, cancel };
        let klds = judged_by_window("judge", &variants, &judges.windows, memory, run)?;
        for (solved, klds) in solved.iter().zip(&klds) {
            report.candidates.push(MixedCandidate {
                name: solved.name.clone(),
                solved: true,
                bytes: solved.bytes,
                expected: solved.taken.as_ref().map(|taken| self.table.expected(taken)),
                kld: klds.mean(),
            });
        }
        Ok(klds)
    }

    /// Whether a quality that was asked for is met; a size always is.
    fn holds(&self, klds: &WindowKlds) -> bool {
        match self.plan().candidates.goal() {
            Goal::Kld(limit) => klds.holds(limit),
            Goal::Size(_) | Goal::BitsPerWeight(_) => true,
        }
    }

    /// The number of the artifact that is taken. Of a size it is the mixed one only if it diverges less than the
    /// uniform one beyond the interval of their difference; of a quality it is the smallest that has it.
    fn best(&self, solved: &[Solved], klds: &[WindowKlds]) -> Result<usize, Error> {
        if let Goal::Kld(limit) = self.plan().candidates.goal() {
            let holding = (0..solved.len()).filter(|&at| self.holds(&klds[at]));
            return holding.min_by_key(|&at| solved[at].bytes).ok_or_else(|| Error::RefusedWithHint {
                what: format!(
                    "none of the artifacts that were solved for stays below a KL divergence of {limit} with its \
                     whole interval"
                ),
                hint: "a larger `--max-kld` is needed, or more windows, which make the interval smaller"
                    .to_owned(),
            });
        }
        let mixed = solved.len() - 1;
        Ok(if mixed > 0 && !klds[mixed].is_below(&klds[0]) { 0 } else { mixed })
    }

    /// Puts an artifact's files into the staging folder of the output, with a record that tells of the allocation.
    fn gather(
        &self,
        made: Made,
        mixed: MixedReport,
        reserved: u64,
        staged: &Staged,
    ) -> Result<(Report, Vec<String>), Error> {
        let Made { plan, staged: from, report } = made;
        // The same work takes other runs of blocks after an interruption.
        let report = Report { mixed: Some(mixed), block_runs: None, ..report };
        let files = plan.files().values().sum();
        let record = self.record(&report, files, reserved)?;
        let mut names = Vec::new();
        for name in plan.files().into_keys() {
            staged.link(&from.partial_path().join(name), name)?;
            names.push(name.to_owned());
        }
        staged.write(REPORT_NAME, &record)?;
        names.push(REPORT_NAME.to_owned());
        Ok((report, names))
    }

    /// The record, which has to fit into a size beside `files` bytes: without white space, if it is longer than what
    /// was reserved for it.
    fn record(&self, report: &Report, files: u64, reserved: u64) -> Result<Vec<u8>, Error> {
        let Goal::Size(most) = self.plan().candidates.goal() else { return report_bytes(report) };
        let pretty = report_bytes(report)?;
        if files + pretty.len() as u64 <= most {
            return Ok(pretty);
        }
        let short =
            serde_json::to_vec(report).map_err(|error| Error::Refused(error.to_string()))?;
        match files + short.len() as u64 <= most {
            true => Ok(short),
            false => Err(Error::Refused(format!(
                "the artifact has {files} bytes and its record {}, which is more than the {most} that are asked \
                 for: {reserved} were reserved for the record",
                short.len()
            ))),
        }
    }
}

/// Bytes of a value in a document that is written with white space, so many levels in.
fn bytes_within(value: &impl Serialize, levels: usize) -> Result<u64, Error> {
    let text =
        serde_json::to_vec_pretty(value).map_err(|error| Error::Refused(error.to_string()))?;
    let lines = text.iter().filter(|byte| **byte == b'\n').count();
    Ok((text.len() + 2 * levels * lines) as u64)
}

fn report_bytes(report: &Report) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    report.write(&mut bytes).map_err(|error| Error::Refused(error.to_string()))?;
    Ok(bytes)
}

/// Allocations that are measured, as a rule: where there are more, the record is written without white space.
const CANDIDATES: u64 = 24;
const BYTES_OF_CANDIDATE: u64 = 280;
