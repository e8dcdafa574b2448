//! Which documents of a snapshot's segments a filter matches.
//!
//! A filter needs what leads to a segment's attributes, and the blocks that may hold its values: those are read for the
//! moment. Where all attributes are in memory, or the answer is known, nothing else is needed.

use std::sync::Arc;

use roaring::RoaringBitmap;
use vb_search::{Filter, PartId, SectionKind};

use crate::error::Error;
use crate::fetch::{Loaded, Missing, Wanted};
use crate::index::view::SegmentView;
use crate::pool;

/// Which documents of each source match; `None`: all.
pub(crate) type Matches = Vec<Option<Arc<RoaringBitmap>>>;

/// What leads to the attributes of a segment, to be held before anything else is asked here.
pub(crate) fn directory(loaded: &Loaded, number: usize) -> impl Iterator<Item = Wanted> {
    const ALL: PartId = PartId::Section(SectionKind::ATTRIBUTES, 0);
    let directory = loaded.segments()[number].attribute_directory();
    let has_all = || loaded.is_small(number) || loaded.has((number, ALL));
    let all = (directory != ALL && has_all()).then_some(ALL);
    [directory].into_iter().chain(all).map(move |part| (number, part))
}

/// The blocks that the segments of some numbers need for a filter.
pub(crate) fn blocks<'a>(
    loaded: &'a Loaded,
    filter: &'a Filter,
    numbers: impl Iterator<Item = usize> + 'a,
) -> impl Iterator<Item = Wanted> + 'a {
    numbers.flat_map(move |number| {
        let parts = loaded.segments()[number].filter_parts(filter);
        parts.into_iter().map(move |part| (number, part))
    })
}

/// The live documents of each segment that a filter matches; `None` for those that are not asked, or without a filter.
/// `Err`: this has to be read first.
///
/// # Errors
/// [`Error::Corrupt`] if parts of a segment contradict each other.
pub(crate) fn of_segments(
    loaded: &mut Loaded,
    filter: &Filter,
    is_asked: impl Fn(&SegmentView) -> bool,
) -> Result<Result<Matches, Missing>, Error> {
    let views = loaded.shared_views();
    let mut matches: Matches = vec![None; views.len()];
    if matches!(filter, Filter::All) {
        return Ok(Ok(matches));
    }
    let mut unknown = Vec::new();
    for (number, view) in views.iter().enumerate().filter(|(_, view)| is_asked(view)) {
        matches[number] = view.known_matching(filter);
        unknown.extend(matches[number].is_none().then_some(number));
    }
    let wanted: Vec<Wanted> = blocks(loaded, filter, unknown.iter().copied()).collect();
    let segments = match loaded.with(wanted)? {
        Ok(segments) => segments,
        Err(missing) => return Ok(Err(missing)),
    };
    let select = |number: usize| (number, views[number].matching(&segments[number], filter));
    for (number, found) in pool::map(unknown, select) {
        matches[number] = Some(found);
    }
    Ok(Ok(matches))
}
