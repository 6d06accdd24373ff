//! What calibration adds to a plan.

use crate::calibration::budget::{CalibrationMemory, Demand};
use crate::calibration::needs::needs_of;
use crate::calibration::observed_data::ObservedData;
use crate::calibration::statistics::saved::Saved;
use crate::method::Method;
use crate::plan::Plan;
use crate::recipe::Calibrate;
use llmopt_arch::program::Block;
use llmopt_calib::{InputSite, Needs, input_sites};
use llmopt_checkpoint::free_disk;
use llmopt_data::{CalibrationFacts, CalibrationSet, CalibrationSource, in_batches};
use llmopt_forward::Engine;
use llmopt_linalg::Gemm;
use llmopt_model::Variant;
use llmopt_run::{Cancel, Disk, Error, Events, Resources, check_room};
use llmopt_scheme::{Granularity, Scheme};
use llmopt_sweep::{Batches, Run};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

/// What a plan says of calibration.
#[derive(Clone, Debug, Serialize)]
pub struct CalibrationSummary {
    /// Windows.
    pub windows: usize,
    /// Tokens of a window.
    pub window: usize,
    /// The names of the sources.
    pub sources: Vec<String>,
    /// Methods among which each site's is chosen.
    pub methods: Vec<Method>,
    /// What computes the products.
    pub kernel: String,
    /// Memory that it will take.
    pub memory: CalibrationMemory,
    /// Room for hidden states on the disk.
    pub scratch: Disk,
}

/// A calibrated sweep that can be carried out.
pub(crate) struct Calibration {
    pub(crate) variant: Variant,
    pub(crate) engine: Engine,
    /// Methods among which each site's is chosen, the plainest first.
    pub(super) methods: Vec<Method>,
    pub(super) basis: Basis,
    pub(crate) memory: CalibrationMemory,
    /// A folder for hidden states that do not fit in memory.
    pub(crate) scratch: PathBuf,
    pub(crate) resources: Resources,
    /// Whether sites are observed one after the other, each behind what is rewritten already.
    pub(crate) sequential: bool,
    /// Whether the last windows fit nothing.
    pub(super) held_out: bool,
    /// The matrices of the blocks.
    reached: BTreeSet<String>,
}

/// Where sums come from.
pub(super) enum Basis {
    /// The model is run on data.
    Data(CalibrationSet),
    /// Files have them.
    Saved(Saved),
}

impl Basis {
    fn open(requested: &Calibrate, variant: &Variant) -> Result<Self, Error> {
        if let Some(saved) = Saved::open(&requested.data)? {
            saved.check_model(variant)?;
            return Ok(Self::Saved(saved));
        }
        Ok(Self::Data(CalibrationSet::read(&requested.data, variant)?))
    }

    /// Whether there is something to go by for a site.
    fn holds(&self, site: &InputSite) -> bool {
        match self {
            Self::Data(_) => true,
            Self::Saved(saved) => saved.holds(site),
        }
    }

    /// Windows of the length and number that there will be.
    fn placeholders(&self) -> Vec<Vec<u32>> {
        match self {
            Self::Data(set) => set.placeholders(),
            Self::Saved(_) => Vec::new(),
        }
    }

    /// What is known of the data before anything is drawn.
    fn facts(&self) -> CalibrationFacts {
        match self {
            Self::Data(set) => set.clone().mixed(Vec::new()).1,
            Self::Saved(saved) => saved.facts(),
        }
    }
}

impl Calibration {
    /// Plans the calibration of what `plan` quantizes.
    ///
    /// # Errors
    /// If the model cannot be run, the data cannot be read, or memory does not suffice.
    pub(crate) fn new(
        plan: &Plan,
        requested: &Calibrate,
        scratch: PathBuf,
        resources: Resources,
    ) -> Result<Self, Error> {
        let variant = Variant::of(&plan.checkpoint())?;
        let gemm = Gemm::new(requested.precision, requested.kernel)
            .map_err(|error| Error::Refused(error.to_string()))?;
        let engine = Engine::new(gemm);
        let basis = Basis::open(requested, &variant)?;
        let methods = plan.recipe.method.candidates();
        check_scheme(plan.recipe.scheme, &methods)?;
        let schemed =
            plan.places().filter_map(|(entry, place)| Some((&*entry.name, place.scheme()?)));
        let schemes: BTreeMap<&str, Scheme> = schemed.collect();
        let mut blocks = Vec::new();
        for block in &variant.program().blocks {
            let mut sites = sites(block, |tensor| schemes.contains_key(tensor))?;
            sites.retain(|site| basis.holds(site));
            blocks.push(sites);
        }
        let batches = in_batches(basis.placeholders(), requested.held_out);
        let demand = Demand {
            variant: &variant,
            batches: &batches,
            engine: &engine,
            needs: needs(&methods),
            methods: &methods,
            judges: requested.held_out || matches!(basis, Basis::Saved(_)),
            sequential: requested.sequential,
            threads: resources.threads,
            schemes: &schemes,
        };
        let memory = match &basis {
            Basis::Data(set) => {
                let drawing =
                    set.self_generated().map(|own| own.memory(&variant, &engine, resources));
                let drawing = drawing.transpose()?;
                demand.planned(&blocks, resources)?.after(drawing)
            }
            Basis::Saved(saved) => demand.read_back(&blocks, saved.len(), resources)?,
        };
        let sites = blocks.into_iter().flatten();
        let reached = sites.flat_map(|site| site.tensors).collect();
        let Calibrate { sequential, held_out, .. } = *requested;
        let planned = Self {
            variant,
            engine,
            methods,
            basis,
            memory,
            scratch,
            resources,
            sequential,
            held_out,
            reached,
        };
        check_room(&planned.scratch_room(), &planned.scratch)?;
        Ok(planned)
    }

    /// It in a form for people and programs.
    pub(crate) fn summary(&self, requested: &Calibrate) -> CalibrationSummary {
        let facts = self.facts();
        CalibrationSummary {
            windows: facts.windows,
            window: facts.window,
            sources: requested.data.sources.iter().map(CalibrationSource::to_string).collect(),
            methods: self.methods.clone(),
            kernel: self.kernel().to_owned(),
            memory: self.memory.clone(),
            scratch: self.scratch_room(),
        }
    }

    /// What computes the products.
    pub(crate) fn kernel(&self) -> &'static str {
        self.engine.gemm().name()
    }

    /// What is known of the data before anything is drawn.
    pub(crate) fn facts(&self) -> CalibrationFacts {
        self.basis.facts()
    }

    /// Says something of the data in the report.
    pub(crate) fn note(&mut self, note: &str) {
        if let Basis::Data(set) = &mut self.basis {
            set.note(note);
        }
    }

    fn scratch_room(&self) -> Disk {
        self.room_for(self.memory.spills, self.memory.hidden_bytes)
    }

    /// Room for so many bytes of hidden states, if they spill.
    pub(crate) fn room_for(&self, spills: bool, hidden_bytes: u64) -> Disk {
        let needed = if spills { hidden_bytes } else { 0 };
        Disk { needed, free: free_disk(&self.scratch).ok() }
    }

    /// Windows of the length and number that there will be.
    pub(crate) fn placeholders(&self) -> Vec<Vec<u32>> {
        self.basis.placeholders()
    }

    /// With what it is carried out.
    pub(crate) fn run<'a>(&'a self, events: &'a dyn Events, cancel: &'a Cancel) -> Run<'a> {
        let Self { engine, resources, scratch, .. } = self;
        Run { engine, resources: *resources, scratch, events, cancel }
    }

    /// Whether the model is run on texts, block after block: neither on what is drawn from the whole model
    /// before, nor by sums that files have.
    pub(crate) fn is_of_texts(&self) -> bool {
        matches!(&self.basis, Basis::Data(set) if set.self_generated().is_none())
    }

    /// The windows, after those are drawn that come from the model itself.
    pub(crate) fn data(&self, events: &dyn Events, cancel: &Cancel) -> Result<ObservedData, Error> {
        let (windows, facts) = match &self.basis {
            Basis::Data(set) => set.clone().taken(&self.variant, self.run(events, cancel))?,
            Basis::Saved(saved) => (Vec::new(), saved.facts()),
        };
        Ok(ObservedData { windows, facts })
    }

    /// The windows in batches.
    pub(crate) fn batches(&self, windows: Vec<Vec<u32>>) -> Batches {
        in_batches(windows, self.held_out)
    }

    /// Whether a tensor's inputs are observed.
    pub(crate) fn reaches(&self, tensor: &str) -> bool {
        self.reached.contains(tensor)
    }

    /// The sites of a block whose matrices it rewrites.
    pub(super) fn sites(&self, block: &Block) -> Result<Vec<InputSite>, Error> {
        sites(block, |tensor| self.reaches(tensor))
    }

    /// Whether the windows held out judge between methods site by site.
    pub(super) fn judges(&self) -> bool {
        self.methods.len() > 1
    }

    /// The sums that the methods ask for.
    pub(super) fn needs(&self) -> Needs {
        needs(&self.methods)
    }

    /// Those of a site.
    pub(super) fn needs_of(&self, site: &InputSite) -> Needs {
        needs_of(site, self.needs())
    }
}

/// Whether the methods can do what the scheme asks.
fn check_scheme(scheme: Scheme, methods: &[Method]) -> Result<(), Error> {
    let solves = methods.iter().any(|method| method.settings().is_some());
    if solves && matches!(scheme.granularity, Granularity::Block { .. }) {
        return Err(Error::RefusedWithHint {
            what: format!(
                "`{}` has scales that rows share, which no solver handles",
                scheme.name()
            ),
            hint: "`--method search` does".to_owned(),
        });
    }
    Ok(())
}

/// The sites of a block that are wanted.
pub(super) fn sites(block: &Block, wanted: impl Fn(&str) -> bool) -> Result<Vec<InputSite>, Error> {
    input_sites(block, wanted).map_err(|error| Error::Refused(error.to_string()))
}

fn needs(methods: &[Method]) -> Needs {
    methods.iter().map(|method| method.needs()).fold(Needs::default(), Needs::union)
}
