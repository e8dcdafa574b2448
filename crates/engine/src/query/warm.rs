//! Reading what queries of an index need into the cache, before they come.

use std::collections::VecDeque;
use std::sync::Arc;

use vb_search::{PartId, SectionKind, Segment};

use crate::error::Error;
use crate::fetch::{Job, Loaded, Missing, Origin, Step, Wanted, window_bytes};
use crate::index::view::{SegmentView, View};

/// Reads into the cache what queries need.
#[derive(Debug)]
pub(crate) struct Warming {
    loaded: Loaded,
    /// Extents that were not looked at yet, once the directories were read.
    extents: Option<VecDeque<Wanted>>,
}

impl Warming {
    pub(crate) fn new(origin: Origin, segments: Arc<[SegmentView]>) -> Self {
        Self { loaded: Loaded::new(origin, segments), extents: None }
    }

    /// Takes the snapshot to warm.
    pub(crate) fn start(mut self, view: &View) -> Self {
        self.loaded.move_to(Arc::clone(&view.segments));
        self
    }

    fn fields(&self) -> usize {
        self.loaded.origin().schema.vector_fields.len()
    }

    /// Whether a segment has a part, and the cache room for it.
    fn fits(&self, segment: &Segment, part: PartId) -> bool {
        let room = self.loaded.origin().context.budget.cache_bytes as u64 / 3;
        segment.place(part).is_some_and(|(range, _)| range.end - range.start <= room)
    }

    /// Vectors as far as the cache has room beside what it holds for this index already.
    fn extents(&self) -> VecDeque<Wanted> {
        let of_segment = |(number, segment): (usize, &Segment)| {
            let of_field = |field| (0..segment.extent_count(field)).map(move |n| (field, n));
            let all = (0..self.fields()).flat_map(of_field);
            all.map(|(field, n)| (number, segment.vector_part(field, n))).collect::<Vec<_>>()
        };
        let room = self.loaded.origin().context.budget.cache_bytes / 2;
        let mut bytes = 0;
        let fits = |(number, part): &Wanted| {
            let place = self.loaded.segments()[*number].place(*part);
            bytes += place.map_or(0, |(range, _)| range.end - range.start);
            bytes <= room as u64
        };
        self.loaded.segments().iter().enumerate().flat_map(of_segment).take_while(fits).collect()
    }
}

impl Job for Warming {
    type Output = ();

    fn prepare(&mut self) -> Result<Option<Missing>, Error> {
        let of_segment = |(number, segment): (usize, &Segment)| {
            let mut parts = vec![
                PartId::Section(SectionKind::KEYS, 0),
                PartId::Section(SectionKind::KEY_INDEX, 0),
                PartId::Section(SectionKind::ATTRIBUTES, 0),
                segment.attribute_directory(),
                segment.key_directory(),
                segment.metadata_directory(),
            ];
            for field in 0..self.fields() {
                let number = field as u8;
                parts.push(PartId::Section(SectionKind::LISTS, number));
                parts.extend(segment.vector_directory(field));
                parts.extend(segment.tree_part(field));
                let codes = [SectionKind::CODES, SectionKind::ROW_CODES, SectionKind::NORMS];
                let codes = codes.map(|kind| PartId::Section(kind, number));
                parts.extend(codes.into_iter().filter(|part| self.fits(segment, *part)));
            }
            parts.into_iter().map(|part| (number, part)).collect::<Vec<_>>()
        };
        let all = self.loaded.segments().iter().enumerate().flat_map(of_segment);
        let wanted: Vec<Wanted> = all.collect();
        self.loaded.hold(wanted)
    }

    fn advance(&mut self) -> Result<Step<()>, Error> {
        if self.extents.is_none() {
            if let Some(missing) = self.prepare()? {
                return Ok(Step::Read(missing));
            }
            self.extents = Some(self.extents());
        }
        let count = (window_bytes(&self.loaded.origin().context) / EXTENT_BYTES).max(1);
        let extents = self.extents.as_mut().expect("they were just listed");
        while !extents.is_empty() {
            let window: Vec<Wanted> = extents.drain(..count.min(extents.len())).collect();
            let missing = self.loaded.missing(window)?;
            if !missing.is_empty() {
                return Ok(Step::Read(missing));
            }
        }
        Ok(Step::Done(()))
    }

    /// What was read is in the cache; nothing of a window is kept here.
    fn loaded(&mut self) -> &mut Loaded {
        &mut self.loaded
    }
}

/// About the size of an extent.
const EXTENT_BYTES: usize = 8 << 10;
