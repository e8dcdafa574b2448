//! What a segment holds of its parts, and how they are checked against each other.

use super::clusters::{CodeBytes, RowCodes};
use super::columns::{AttributesSection, Block, Blocks, Columns, Heads};
use super::corrupt;
use super::key_filter::KeyFilter;
use super::key_index::KeyIndex;
use super::keys::{KeyBlock, KeyDirectory, Keys};
use super::lists::Lists;
use super::metadata::{Metadata, MetadataBlock, MetadataIndex};
use super::part::{Content, Part, PartId, SectionPlace};
use super::section::{Floats, SectionKind};
use super::vectors::Extents;
use crate::DocId;
use crate::ann::Index;
use crate::decode::Corrupt;
use crate::schema::{Metric, Schema, VectorField};
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

/// What was added so far.
#[derive(Clone, Debug)]
pub(super) struct Parts {
    pub(super) docs: u32,
    pub(super) table: Arc<[SectionPlace]>,
    pub(super) keys: Option<Arc<Keys>>,
    pub(super) key_directory: Option<Arc<KeyDirectory>>,
    pub(super) key_blocks: BTreeMap<u32, Arc<KeyBlock>>,
    pub(super) key_filter: Option<Arc<KeyFilter>>,
    pub(super) key_index: Option<Arc<KeyIndex>>,
    pub(super) attributes: Option<Arc<AttributesSection>>,
    pub(super) attribute_heads: Option<Arc<Heads>>,
    pub(super) attribute_blocks: BTreeMap<u32, Arc<Block>>,
    pub(super) metadata: Option<Arc<Metadata>>,
    pub(super) metadata_index: Option<Arc<MetadataIndex>>,
    pub(super) metadata_blocks: BTreeMap<u32, Arc<MetadataBlock>>,
    pub(super) fields: Vec<Field>,
}

/// The rows of one vector field.
#[derive(Clone, Debug)]
pub(super) struct Field {
    pub(super) dimension: usize,
    pub(super) lists: Option<Arc<Lists>>,
    pub(super) directory: Option<Arc<Extents>>,
    pub(super) extents: BTreeMap<u32, Floats>,
    /// The values of all rows.
    pub(super) whole: Option<Floats>,
    pub(super) norms: Option<Floats>,
    /// The cluster index.
    pub(super) tree: Option<Arc<Index>>,
    /// All of its lists.
    pub(super) codes: Option<Arc<CodeBytes>>,
    /// Some of them.
    pub(super) code_lists: BTreeMap<u32, Arc<CodeBytes>>,
    pub(super) row_codes: Option<RowCodes>,
    /// Those of some lists.
    pub(super) row_lists: BTreeMap<u32, RowCodes>,
}

impl Field {
    pub(super) fn new(field: &VectorField) -> Self {
        Self {
            dimension: field.dimension as usize,
            lists: None,
            directory: None,
            extents: BTreeMap::new(),
            whole: None,
            norms: None,
            tree: None,
            codes: None,
            code_lists: BTreeMap::new(),
            row_codes: None,
            row_lists: BTreeMap::new(),
        }
    }

    pub(super) fn tree(&self) -> &Index {
        self.tree.as_deref().expect("the tree was added")
    }

    /// Checks lists and row codes against the tree, as far as all of them are there.
    fn check_codes(&self) -> Result<(), Corrupt> {
        let Some(tree) = &self.tree else { return Ok(()) };
        if self.row_codes.as_ref().is_some_and(|rows| !rows.fit(tree)) {
            return Err(corrupt("row codes"));
        }
        self.codes.as_ref().map_or(Ok(()), |codes| codes.check_all(tree))
    }

    fn add_list(&mut self, list: u32, codes: &Arc<CodeBytes>) -> Result<(), Corrupt> {
        codes.check_list(self.tree(), list)?;
        self.code_lists.insert(list, Arc::clone(codes));
        Ok(())
    }

    fn add_rows_of_list(&mut self, list: u32, rows: &RowCodes) -> Result<(), Corrupt> {
        self.tree().check_rows(list, rows.bytes())?;
        self.row_lists.insert(list, rows.clone());
        Ok(())
    }

    pub(super) fn lists(&self) -> &Lists {
        self.lists.as_deref().expect("the lists were added")
    }

    pub(super) fn directory(&self) -> &Extents {
        self.directory.as_deref().expect("the vector directory was added")
    }

    /// The values of rows in one extent.
    pub(super) fn values(&self, rows: Range<usize>) -> &[f32] {
        let (values, first) = match &self.whole {
            Some(whole) => (whole, 0),
            None if rows.is_empty() => return &[],
            None => {
                let extent = self.directory().of_row(rows.start);
                let values = self.extents.get(&extent).expect("the extent was added");
                (values, self.directory().rows_of(extent).start)
            }
        };
        let range = (rows.start - first) * self.dimension..(rows.end - first) * self.dimension;
        &values.as_slice()[range]
    }

    /// The values of rows in one extent, which a part has.
    pub(super) fn values_in<'a>(
        &self,
        part: &'a Part,
        rows: Range<usize>,
    ) -> Result<&'a [f32], Corrupt> {
        let Content::Vectors(values) = &part.content else {
            panic!("a part with vectors");
        };
        let extent = match &self.directory {
            Some(directory) => directory.rows_of(directory.of_row(rows.start)),
            None => 0..self.lists().rows(),
        };
        let values = values.as_slice();
        if values.len() != extent.len() * self.dimension {
            return Err(corrupt("rows of an extent"));
        }
        let range = rows.start - extent.start..rows.end - extent.start;
        Ok(&values[range.start * self.dimension..range.end * self.dimension])
    }

    /// Whether the parts that are there are of the same rows.
    pub(super) fn agrees(&self) -> bool {
        let rows = [
            self.lists.as_ref().map(|lists| lists.rows()),
            self.directory.as_ref().map(|directory| directory.rows()),
            self.whole.as_ref().map(|values| values.as_slice().len() / self.dimension),
            self.norms.as_ref().map(|norms| norms.as_slice().len()),
            self.tree.as_ref().map(|tree| tree.rows() as usize),
        ];
        let mut rows = rows.into_iter().flatten();
        let first = rows.next();
        rows.all(|rows| Some(rows) == first)
    }

    pub(super) fn add_extent(&mut self, extent: u32, values: &Floats) -> bool {
        let rows = self.directory().rows_of(extent).len();
        let whole = rows > 0 && values.as_slice().len() == rows * self.dimension;
        if whole {
            self.extents.insert(extent, values.clone());
        }
        whole
    }
}

impl Parts {
    pub(super) fn new(schema: &Schema, docs: u32, table: Vec<SectionPlace>) -> Self {
        Self {
            docs,
            table: table.into(),
            keys: None,
            key_directory: None,
            key_blocks: BTreeMap::new(),
            key_filter: None,
            key_index: None,
            attributes: None,
            attribute_heads: None,
            attribute_blocks: BTreeMap::new(),
            metadata: None,
            metadata_index: None,
            metadata_blocks: BTreeMap::new(),
            fields: schema.vector_fields.iter().map(Field::new).collect(),
        }
    }

    pub(super) fn add(&mut self, part: &Part) -> Result<(), Corrupt> {
        match (part.id(), &part.content) {
            (PartId::VectorExtent(field, extent), Content::Vectors(values)) => {
                let added = self.field_mut(field)?.add_extent(extent, values);
                return if added { Ok(()) } else { Err(corrupt("rows of an extent")) };
            }
            (PartId::MetadataBlock(number), Content::MetadataBlock(block)) => {
                if self.metadata_index().docs_of(number).len() != block.docs() {
                    return Err(corrupt("documents of a metadata block"));
                }
                self.metadata_blocks.insert(number, Arc::clone(block));
            }
            (PartId::KeyBlock(number), Content::KeyBlock(block)) => {
                if self.key_directory().docs_of(number).len() != block.docs() {
                    return Err(corrupt("documents of a key block"));
                }
                self.key_blocks.insert(number, Arc::clone(block));
            }
            (PartId::AttributeBlock(number), Content::AttributeBlock(block)) => {
                if !self.heads().fits(number, block) {
                    return Err(corrupt("terms of an attribute block"));
                }
                self.attribute_blocks.insert(number, Arc::clone(block));
            }
            (PartId::CodeList(field, list), Content::Codes(codes)) => {
                self.field_mut(field)?.add_list(list, codes)?;
            }
            (PartId::RowCodeList(field, list), Content::RowCodes(rows)) => {
                self.field_mut(field)?.add_rows_of_list(list, rows)?;
            }
            (PartId::Section(_, field), content) => self.add_section(field, content)?,
            _ => unreachable!("a part holds what its name says"),
        }
        Ok(())
    }

    pub(super) fn add_section(&mut self, field: u8, content: &Content) -> Result<(), Corrupt> {
        match content {
            Content::Keys(keys) => self.keys = Some(Arc::clone(keys)),
            Content::KeyFilter(filter) => self.key_filter = Some(Arc::clone(filter)),
            Content::KeyIndex(index) => self.key_index = Some(Arc::clone(index)),
            Content::Attributes(attributes) => self.attributes = Some(Arc::clone(attributes)),
            Content::AttributeHeads(heads) => self.attribute_heads = Some(Arc::clone(heads)),
            Content::AttributeBlock(_) => unreachable!("a block is no section"),
            Content::Metadata(metadata) => self.metadata = Some(Arc::clone(metadata)),
            Content::MetadataIndex(index) => self.metadata_index = Some(Arc::clone(index)),
            Content::MetadataBlock(_) => unreachable!("a block is no section"),
            Content::Lists(lists) => self.field_mut(field)?.lists = Some(Arc::clone(lists)),
            Content::Extents(extents) => {
                self.field_mut(field)?.directory = Some(Arc::clone(extents));
            }
            Content::Vectors(values) => self.field_mut(field)?.whole = Some(values.clone()),
            Content::Norms(norms) => self.field_mut(field)?.norms = Some(norms.clone()),
            Content::Tree(tree) => self.field_mut(field)?.tree = Some(Arc::clone(tree)),
            Content::Codes(codes) => self.field_mut(field)?.codes = Some(Arc::clone(codes)),
            Content::RowCodes(codes) => self.field_mut(field)?.row_codes = Some(codes.clone()),
            Content::KeyDirectory(directory) => self.key_directory = Some(Arc::clone(directory)),
            Content::KeyBlock(_) => unreachable!("a block is no section"),
        }
        self.check(field, content)
    }

    /// Checks a section that was just added against the others.
    pub(super) fn check(&self, field: u8, content: &Content) -> Result<(), Corrupt> {
        match content {
            Content::Keys(_) | Content::KeyIndex(_) => match (&self.keys, &self.key_index) {
                (Some(keys), Some(index)) if !index.is_in_key_order(keys) => {
                    Err(corrupt("keys of one hash are not ascending"))
                }
                _ => Ok(()),
            },
            Content::Lists(_) | Content::Extents(_) | Content::Vectors(_) | Content::Norms(_) => {
                let agrees = self.fields[field as usize].agrees();
                if agrees { Ok(()) } else { Err(corrupt("number of rows")) }
            }
            Content::Tree(_) | Content::Codes(_) | Content::RowCodes(_) => {
                let field = &self.fields[field as usize];
                if field.agrees() { field.check_codes() } else { Err(corrupt("number of rows")) }
            }
            Content::Attributes(_) | Content::AttributeHeads(_) => self.check_attributes(),
            Content::KeyFilter(_)
            | Content::AttributeBlock(_)
            | Content::KeyDirectory(_)
            | Content::KeyBlock(_)
            | Content::Metadata(_)
            | Content::MetadataIndex(_)
            | Content::MetadataBlock(_) => Ok(()),
        }
    }

    pub(super) fn field_mut(&mut self, field: u8) -> Result<&mut Field, Corrupt> {
        self.fields.get_mut(field as usize).ok_or(corrupt("a vector field not in the schema"))
    }

    pub(super) fn has(&self, id: PartId) -> bool {
        let field = |number: u8| self.fields.get(number as usize);
        match id {
            PartId::VectorExtent(number, extent) => {
                field(number).is_some_and(|field| field.extents.contains_key(&extent))
            }
            PartId::MetadataBlock(block) => self.metadata_blocks.contains_key(&block),
            PartId::KeyBlock(block) => self.key_blocks.contains_key(&block),
            PartId::AttributeBlock(block) => self.attribute_blocks.contains_key(&block),
            PartId::CodeList(number, list) => {
                field(number).is_some_and(|field| field.code_lists.contains_key(&list))
            }
            PartId::RowCodeList(number, list) => {
                field(number).is_some_and(|field| field.row_lists.contains_key(&list))
            }
            PartId::Section(kind, number) => match kind {
                SectionKind::KEYS => self.keys.is_some(),
                SectionKind::KEY_BLOCKS => self.key_directory.is_some(),
                SectionKind::CENTROIDS => field(number).is_some_and(|field| field.tree.is_some()),
                SectionKind::CODES => field(number).is_some_and(|field| field.codes.is_some()),
                SectionKind::ROW_CODES => {
                    field(number).is_some_and(|field| field.row_codes.is_some())
                }
                SectionKind::KEY_FILTER => self.key_filter.is_some(),
                SectionKind::KEY_INDEX => self.key_index.is_some(),
                SectionKind::METADATA => self.metadata.is_some(),
                SectionKind::METADATA_INDEX => self.metadata_index.is_some(),
                SectionKind::ATTRIBUTES => self.attributes.is_some(),
                SectionKind::ATTRIBUTE_BLOCKS => self.attribute_heads.is_some(),
                SectionKind::LISTS => field(number).is_some_and(|field| field.lists.is_some()),
                SectionKind::VECTORS => field(number).is_some_and(|field| field.whole.is_some()),
                SectionKind::NORMS => field(number).is_some_and(|field| field.norms.is_some()),
                SectionKind::VECTOR_EXTENTS => {
                    field(number).is_some_and(|field| field.directory.is_some())
                }
                _ => false,
            },
        }
    }

    /// The kind of a section that a whole segment has and this one lacks.
    pub(super) fn missing(&self, schema: &Schema) -> Option<SectionKind> {
        let indexed = matches!(self.metadata.as_deref(), Some(Metadata::Indexed(_)));
        let cut_keys = self.keys.as_ref().is_some_and(|keys| keys.is_cut());
        let cut_attributes =
            matches!(self.attributes.as_deref(), Some(AttributesSection::Blocks(_)));
        let segment = [
            (SectionKind::KEYS, true),
            (SectionKind::KEY_BLOCKS, cut_keys),
            (SectionKind::KEY_INDEX, true),
            (SectionKind::KEY_FILTER, self.filter().is_none()),
            (SectionKind::METADATA, true),
            (SectionKind::METADATA_INDEX, indexed),
            (SectionKind::ATTRIBUTES, true),
            (SectionKind::ATTRIBUTE_BLOCKS, cut_attributes),
        ];
        let segment = segment.into_iter().map(|(kind, needed)| (kind, 0, needed));
        let fields = (0..).zip(&schema.vector_fields).flat_map(|(number, field)| {
            [
                (SectionKind::LISTS, number, true),
                (SectionKind::VECTORS, number, true),
                (SectionKind::NORMS, number, field.metric == Metric::Cosine),
            ]
        });
        let mut missing = segment
            .chain(fields)
            .filter(|(kind, field, needed)| *needed && !self.has(PartId::Section(*kind, *field)));
        missing.next().map(|(kind, ..)| kind)
    }

    pub(super) fn filter(&self) -> Option<&KeyFilter> {
        let apart = self.key_filter.as_deref();
        apart.or_else(|| self.key_index.as_ref().and_then(|index| index.filter()))
    }

    pub(super) fn metadata_index(&self) -> &MetadataIndex {
        self.metadata_index.as_deref().expect("the metadata index was added")
    }

    /// What leads to the blocks of attributes.
    pub(super) fn heads(&self) -> &Heads {
        let old = match self.attributes.as_deref() {
            Some(AttributesSection::Old(heads, _)) => Some(&**heads),
            _ => None,
        };
        old.or(self.attribute_heads.as_deref()).expect("what leads to the attributes was added")
    }

    pub(super) fn columns(&self) -> Columns<'_> {
        Columns { heads: self.heads(), blocks: self }
    }

    /// Checks all blocks against what leads to them, once both are there.
    fn check_attributes(&self) -> Result<(), Corrupt> {
        let Some(attributes) = &self.attributes else { return Ok(()) };
        let leads = |row: &SectionPlace| row.kind == SectionKind::ATTRIBUTE_BLOCKS;
        let may_have_heads = self.table.is_empty() || self.table.iter().any(leads);
        let (blocks, heads) = match (&**attributes, &self.attribute_heads) {
            (AttributesSection::Blocks(blocks), Some(heads)) => (blocks, heads),
            (AttributesSection::Blocks(_), None) if may_have_heads => return Ok(()),
            (AttributesSection::Old(..), None) => return Ok(()),
            _ => return Err(corrupt("what leads to the attributes")),
        };
        let fit = blocks.len() == heads.count() as usize
            && (0..).zip(blocks.iter()).all(|(number, block)| heads.fits(number, block));
        if fit { Ok(()) } else { Err(corrupt("blocks of attributes")) }
    }

    pub(super) fn key_directory(&self) -> &KeyDirectory {
        self.key_directory.as_deref().expect("the key directory was added")
    }

    /// The key of a document, from all keys or from its block.
    pub(super) fn key(&self, doc: DocId) -> &[u8] {
        if let Some(keys) = &self.keys {
            return keys.at(doc);
        }
        let directory = self.key_directory();
        let number = directory.block_of(doc);
        let block = self.key_blocks.get(&number).expect("the keys of the document were added");
        block.at((doc - directory.docs_of(number).start) as usize)
    }

    /// The block with the metadata of a document, and the documents of it.
    pub(super) fn metadata_block(
        &self,
        doc: DocId,
    ) -> Result<(MetadataBlock, Range<DocId>), Corrupt> {
        if let Some(metadata) = &self.metadata {
            return metadata.block_with(doc, self.metadata_index.as_deref());
        }
        let number = self.metadata_index().block_of(doc);
        let block = self.metadata_blocks.get(&number).expect("the metadata block was added");
        Ok((MetadataBlock::clone(block), self.metadata_index().docs_of(number)))
    }

    pub(super) fn table_row(&self, kind: SectionKind, field: u8) -> Option<&SectionPlace> {
        self.table.iter().find(|row| (row.kind, row.field) == (kind, field))
    }

    /// A place inside a section as one in the object.
    pub(super) fn inside(
        &self,
        kind: SectionKind,
        field: u8,
        (range, crc): (Range<u64>, u32),
    ) -> Option<(Range<u64>, u32)> {
        let section = &self.table_row(kind, field)?.range;
        let start = section.start.checked_add(range.start)?;
        let end = section.start.checked_add(range.end)?;
        (end <= section.end).then_some((start..end, crc))
    }
}

impl Blocks for Parts {
    fn block(&self, number: u32) -> &Block {
        let whole = self.attributes.as_ref().map(|attributes| attributes.blocks());
        let block = match whole {
            Some(blocks) => blocks.get(number as usize),
            None => self.attribute_blocks.get(&number),
        };
        block.expect("the attributes were added")
    }
}
