//! What a run needs of the machine: time, work in the background, and stores.

use std::sync::Arc;

use crate::platform::{Clock, Store, Tasks};

/// The clock, the tasks and the stores of a run.
pub struct Ground {
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Work that outlives an answer.
    pub tasks: Arc<dyn Tasks>,
    /// How many registries are run at a time: more than one where a store makes everything wait.
    pub at_once: usize,
    /// What the store is called in reports.
    pub store_name: &'static str,
    /// A fresh store for each cell; `None`: nothing is kept.
    pub store: Box<dyn Fn() -> Option<Arc<dyn Store>> + Send + Sync>,
}
