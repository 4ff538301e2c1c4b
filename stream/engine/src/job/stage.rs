//! Stages behind a window, in the definition of a job.

use super::Pipeline;
use crate::aggregate::{Aggregate, Key, Value};
use crate::output::Output;
use crate::stages::rows::Rows;
use crate::stages::{Stage, WindowRow};

impl<K: Key, A: Aggregate> Pipeline<K, A> {
    /// Also publishes to `topic` the rows that `derive` makes from the job's rows: it filters and maps them, groups
    /// them by further windows, ranks or joins them. When late records correct a row, the rows that were derived from
    /// it are corrected in the same transaction.
    ///
    /// `encode` fills the record of a derived row. Its key must name the row, so that no other row of any
    /// window has it. A corrected row replaces the record with its key, and a row that is derived no more becomes a
    /// tombstone. The topic is compacted. A stage that is added to a job begins with the windows that the job has not
    /// committed yet. If the job falls back to an older checkpoint, the record of a row that is not derived again
    /// stays.
    #[must_use]
    pub fn stage<T: Value>(
        mut self,
        topic: &str,
        derive: impl FnOnce(Rows<WindowRow<K, A>, WindowRow<K, A>>) -> Rows<WindowRow<K, A>, T>,
        encode: impl Fn(&T, &mut Output) + Send + Sync + 'static,
    ) -> Self {
        let (reach_ms, plan) = derive(Rows::of(self.windows)).encoded(encode);
        self.stages.push(Stage::new(topic, reach_ms, plan));
        self
    }
}

impl<K, A> Pipeline<K, A> {
    /// Returns the topics whose records are replaced by their key: those of summaries, rankings and stages.
    pub(crate) fn views(&self) -> impl Iterator<Item = &str> {
        let stages = self.stages.iter().map(|stage| &*stage.topic);
        let views = self.views.iter().map(crate::summary::Summary::topic);
        views.chain(stages)
    }
}
