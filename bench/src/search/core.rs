//! The vector index alone, over a whole set in memory: what the layers above it are compared with.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use serde_json::{Value, json};
use vb_kernel::Kernels;
use vb_search::ann::{
    Builder, Index, Near, Outcome as Searched, Params, Part, Request, RowMask, Searcher, Slots,
    Whole,
};
use vb_search::{Metric, aligned};

use super::meter::{self, Run};
use super::{Churn, Engine, K, Put, Set, TARGETS, target};
use crate::npy::Array;
use crate::{Outcome, server};

pub(super) struct Core {
    set: Set,
    kernels: Kernels,
    indexed: Option<Indexed>,
}

struct Indexed {
    kernels: Kernels,
    base: Arc<Array>,
    /// Both as segments have them in memory.
    lists: Bytes,
    codes: Bytes,
    index: Index,
    slots: Option<Slots>,
}

impl Core {
    pub(super) fn new(set: Set) -> Self {
        Self { set, kernels: Kernels::detect(), indexed: None }
    }

    fn indexed(&self) -> Outcome<&Indexed> {
        self.indexed.as_ref().ok_or_else(|| "nothing is built".into())
    }
}

impl Engine for Core {
    fn hello(&mut self) -> Outcome<Value> {
        let version = format!("{} (index only)", env!("CARGO_PKG_VERSION"));
        Ok(json!({
            "version": version,
            "settings": &TARGETS[1..],
            "can": ["filter"],
            "pid": std::process::id(),
        }))
    }

    fn build(&mut self, rows: usize) -> Outcome<Value> {
        let base = self.set.array("base")?;
        let (start, cpu) = (Instant::now(), server::cpu_seconds_of(std::process::id()));
        let mut builder =
            Builder::new(Params::new(Metric::Cosine, self.set.dimension), self.kernels);
        let wanted = &base.values[..rows * self.set.dimension];
        wanted.chunks(4096 * self.set.dimension).for_each(|rows| builder.push(rows));
        let built = builder.finish();
        let cpu = server::cpu_seconds_of(std::process::id()) - cpu;
        let index = Index::open(&built.tree).map_err(|_| "the index does not open".to_owned())?;
        let bytes = built.tree.len() + built.lists.len() + built.codes.len();
        let hot = built.tree.len() + built.lists.len();
        let notes = json!({"lists": index.lists(), "hot_bytes": hot});
        let slots = index.slots(&built.lists).map_err(|error| error.to_string())?;
        let [lists, codes] = [built.lists, built.codes].map(|section| aligned(&section));
        self.indexed = Some(Indexed { kernels: self.kernels, base, lists, codes, index, slots });
        let wall = start.elapsed().as_secs_f64();
        Ok(json!({"cpu": cpu, "wall": wall, "disk": bytes, "notes": notes}))
    }

    fn settle(&mut self, _: f64) -> Outcome<Value> {
        Ok(json!({"cpu": 0.0, "wall": 0.0}))
    }

    fn open(&mut self) -> Outcome<Value> {
        Err("the index alone is not kept".into())
    }

    fn run(&mut self, run: &Run) -> Outcome<Value> {
        let queries = self.set.array(&run.queries)?;
        let indexed = self.indexed()?;
        let mask = match &run.filter {
            Some(name) => Some(indexed.mask(&self.set, name)?),
            None => None,
        };
        let request = Request {
            target: target(&run.setting)?.unwrap_or(Request::TARGET),
            ..Request::nearest(K)
        };
        let mut searcher = Searcher::new(self.kernels);
        let (mut bytes, mut count) = (0, 0);
        let mut ask = |place: usize| {
            let (rows, read) =
                indexed.query(&mut searcher, queries.row(place), &request, mask.as_ref())?;
            (bytes, count) = (bytes + read, count + 1);
            Ok(rows)
        };
        meter::warm(queries.rows().len(), &mut ask)?;
        let cpu = meter::thread_seconds();
        let measured = meter::measure(run, queries.rows().len(), &mut ask)?;
        let mut answer = measured.answer(meter::thread_seconds() - cpu);
        answer["bytes"] = (bytes as f64 / f64::from(count)).into();
        Ok(answer)
    }

    fn put(&mut self, _: &Put) -> Outcome<Value> {
        Err("the index alone is immutable".into())
    }

    fn delete(&mut self, _: Vec<usize>) -> Outcome<Value> {
        Err("the index alone is immutable".into())
    }

    fn churn(&mut self, _: &Churn) -> Outcome<Value> {
        Err("the index alone is immutable".into())
    }
}

impl Indexed {
    fn mask(&self, set: &Set, filter: &str) -> Outcome<RowMask> {
        Ok(RowMask::from_words(set.mask(filter, self.base.rows().len())?))
    }

    /// The nearest by exact distance, and the bytes of lists and codes that were read.
    fn query(
        &self,
        searcher: &mut Searcher,
        query: &[f32],
        request: &Request,
        allowed: Option<&RowMask>,
    ) -> Outcome<(Vec<u64>, usize)> {
        let source = Whole {
            index: &self.index,
            lists: &self.lists,
            codes: &self.codes,
            slots: self.slots.as_ref(),
        };
        let parts = [Part { index: &self.index, source, allowed }];
        let Searched::Done(work) = searcher.search(query, &parts, request) else {
            return Err("a list is missing".into());
        };
        let kernels = self.kernels;
        let id = |near: &Near| u64::from(near.row);
        let row = |near: &Near| self.base.row(id(near) as usize);
        searcher.near().iter().for_each(|near| kernels.prefetch(row(near)));
        let exact = |near: &Near| (-kernels.dot(query, row(near)), id(near));
        let mut found: Vec<(f32, u64)> = searcher.near().iter().map(exact).collect();
        found.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        Ok((found.into_iter().take(K).map(|(_, id)| id).collect(), work.bytes))
    }
}
