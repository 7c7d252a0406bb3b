//! From addresses to functions, files and lines, read off the files that the modules were
//! loaded from.
//!
//! Never called by a capture. What was read stays: the files stay mapped, parsed debug info and
//! the symbols of each address are kept, so a first look may take a second where later ones
//! take microseconds. For each function it gives both the linkage name, which has the path, and
//! DWARF's own name, which tells an async fn from an async block from a closure.

use std::collections::HashMap;
use std::fs::File;
use std::sync::Arc;

use addr2line::gimli::{
    self, AttributeValue, DW_AT_abstract_origin, DW_AT_name, DW_AT_specification, DebugInfoOffset,
    EndianSlice, RunTimeEndian, Unit, UnitOffset, UnitRef, UnitSectionOffset,
};
use addr2line::{Context, Frame};
use memmap2::Mmap;
use object::{Object, ObjectSection, ObjectSymbol, SymbolKind};

use crate::module::{self, Module};

/// One function at an address.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Symbol {
    /// The mangled name.
    pub linkage_name: Option<Arc<str>>,
    /// DWARF's own name (`DW_AT_name`): `{async_fn#0}`, `poll<…>`. It has no path.
    pub dwarf_name: Option<Arc<str>>,
    /// The path of the source file, as the compiler was given it.
    pub file: Option<Arc<str>>,
    /// The line, from 1.
    pub line: Option<u32>,
}

/// What the executable's file tells about its functions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum DebugInfo {
    /// Functions with their paths, files and lines, inlined ones too (`debug = "limited"` and
    /// more), as far as was looked at.
    Full,
    /// Inlined functions have no path (`debug = "line-tables-only"`).
    LineTables,
    /// Outermost functions, from the symbol table alone.
    SymbolsOnly,
    /// Nothing.
    Stripped,
}

/// Resolved addresses that are kept; past it all are dropped and read again.
const MAX_RESOLVED: usize = 1 << 17;

/// Looks addresses up in the files of the process's modules.
#[derive(Default)]
pub struct Symbolizer {
    files: HashMap<Arc<str>, Option<Debug>>,
    resolved: HashMap<u64, Arc<[Symbol]>>,
    saw_inlined_without_path: bool,
}

impl Symbolizer {
    /// Knows nothing yet; reads when asked.
    pub fn new() -> Symbolizer {
        Symbolizer::default()
    }

    /// The functions at an address (of a call: one less than the return address), innermost
    /// first; all but the last were inlined. Empty if nothing is known of it.
    pub fn symbolize(&mut self, address: u64) -> Arc<[Symbol]> {
        if let Some(symbols) = self.resolved.get(&address) {
            return Arc::clone(symbols);
        }
        if self.resolved.len() >= MAX_RESOLVED {
            self.resolved.clear();
        }
        let symbols: Arc<[Symbol]> = self.look_up(address).into();
        self.note_paths(&symbols);
        self.resolved.insert(address, Arc::clone(&symbols));
        symbols
    }

    /// What the executable's file holds.
    pub fn debug_info(&mut self) -> DebugInfo {
        let executable = module::modules()
            .first()
            .and_then(|module| self.file(module));
        match executable.map(|debug| (debug.has_dwarf, debug.functions.is_empty())) {
            Some((true, _)) if self.saw_inlined_without_path => DebugInfo::LineTables,
            Some((true, _)) => DebugInfo::Full,
            Some((false, false)) => DebugInfo::SymbolsOnly,
            _ => DebugInfo::Stripped,
        }
    }

    #[cfg(not(taskleak_unwind))]
    fn look_up(&mut self, address: u64) -> Vec<Symbol> {
        let mut symbols = Vec::new();
        backtrace::resolve(address as *mut std::ffi::c_void, |found| {
            symbols.push(Symbol {
                linkage_name: found.name().and_then(|name| name.as_str()).map(Arc::from),
                dwarf_name: None,
                file: found
                    .filename()
                    .map(|path| path.display().to_string().into()),
                line: found.lineno(),
            });
        });
        symbols
    }

    #[cfg(taskleak_unwind)]
    fn look_up(&mut self, address: u64) -> Vec<Symbol> {
        let modules = module::modules();
        let holds = |module: &&Module| (module.start..module.end).contains(&address);
        let Some(module) = modules.iter().find(holds) else {
            return Vec::new();
        };
        let Some(debug) = self.file(module) else {
            return Vec::new();
        };
        debug.symbols(address.wrapping_sub(module.bias))
    }

    fn file(&mut self, module: &Module) -> Option<&mut Debug> {
        let open = || Debug::open(module);
        self.files
            .entry(Arc::clone(&module.path))
            .or_insert_with(open)
            .as_mut()
    }

    /// The standard library is built with line tables alone, whatever the program is.
    fn note_paths(&mut self, symbols: &[Symbol]) {
        let is_std = |file: &Arc<str>| file.starts_with("/rustc/");
        let pathless = |symbol: &Symbol| {
            symbol.linkage_name.is_none() && symbol.file.as_ref().is_some_and(|file| !is_std(file))
        };
        self.saw_inlined_without_path |= symbols.iter().rev().skip(1).any(pathless);
    }
}

impl std::fmt::Debug for Symbolizer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Symbolizer")
            .field("resolved", &self.resolved.len())
            .finish_non_exhaustive()
    }
}

type Bytes = EndianSlice<'static, RunTimeEndian>;

/// The debug info and the symbol table of one file.
struct Debug {
    context: Context<Bytes>,
    has_dwarf: bool,
    /// Sorted by address.
    functions: Vec<Function>,
    /// Units that a function of another unit refers to, parsed, by their offset.
    units: HashMap<DebugInfoOffset, Unit<Bytes>>,
}

struct Function {
    address: u64,
    size: u64,
    name: &'static str,
}

impl Debug {
    /// `None`: the file is gone, is not the one that was loaded, or can't be read.
    fn open(module: &Module) -> Option<Debug> {
        let is_executable = module::modules()
            .first()
            .is_some_and(|first| first == module);
        // The file that runs, even if another has its name by now.
        let path = if is_executable {
            "/proc/self/exe"
        } else {
            &module.path
        };
        let file = File::open(path).ok()?;
        // SAFETY: a file that is loaded as code is not written to by sane means (the kernel
        // refuses it for executables); memory that is only read by a parser that checks bounds.
        let mapped = unsafe { Mmap::map(&file) }.ok()?;
        // Kept for ever, as the contexts are: at most one for each module.
        let bytes: &'static [u8] = Box::leak(Box::new(mapped));
        let object = object::File::parse(bytes).ok()?;
        if !is_executable && build_id(&object) != *module.build_id {
            return None;
        }
        let endian = if object.is_little_endian() {
            RunTimeEndian::Little
        } else {
            RunTimeEndian::Big
        };
        let section = |id: gimli::SectionId| -> Result<Bytes, gimli::Error> {
            Ok(EndianSlice::new(section_bytes(&object, id.name()), endian))
        };
        let dwarf = gimli::Dwarf::load(section).ok()?;
        Some(Debug {
            has_dwarf: !section_bytes(&object, ".debug_info").is_empty(),
            context: Context::from_dwarf(dwarf).ok()?,
            functions: functions(&object),
            units: HashMap::new(),
        })
    }

    fn symbols(&mut self, svma: u64) -> Vec<Symbol> {
        let Debug {
            context,
            units,
            functions,
            ..
        } = self;
        let unit = context.find_dwarf_and_unit(svma).skip_all_loads();
        let mut symbols = Vec::new();
        if let Ok(mut frames) = context.find_frames(svma).skip_all_loads() {
            while let Ok(Some(frame)) = frames.next() {
                let dwarf_name = unit
                    .zip(frame.dw_die_offset)
                    .and_then(|(unit, entry)| dwarf_name(unit, entry, units, MAX_REFERENCES));
                symbols.push(symbol(&frame, dwarf_name));
            }
        }
        // Only the symbol table has the name of an outermost function that DWARF names without
        // its path, or not at all.
        if let Some(name) = function_at(functions, svma) {
            match symbols.last_mut() {
                Some(outermost) if is_mangled(outermost) => {}
                Some(outermost) => outermost.linkage_name = Some(name.into()),
                None => symbols.push(Symbol {
                    linkage_name: Some(name.into()),
                    ..Symbol::default()
                }),
            }
        }
        symbols
    }
}

fn symbol(frame: &Frame<'_, Bytes>, dwarf_name: Option<Arc<str>>) -> Symbol {
    let name = frame
        .function
        .as_ref()
        .and_then(|name| name.raw_name().ok());
    let location = frame.location.as_ref();
    // Without a linkage name addr2line gives DWARF's own.
    let linkage_name = name.filter(|name| dwarf_name.as_deref() != Some(&**name));
    Symbol {
        linkage_name: linkage_name.map(Arc::from),
        dwarf_name,
        file: location.and_then(|location| location.file).map(Arc::from),
        line: location
            .and_then(|location| location.line)
            .filter(|line| *line != 0),
    }
}

fn is_mangled(symbol: &Symbol) -> bool {
    symbol
        .linkage_name
        .as_deref()
        .is_some_and(|name| name.starts_with("_"))
}

/// From a function to its declaration, or to the abstract function that it is an instance of.
const MAX_REFERENCES: u32 = 8;

fn dwarf_name(
    unit: UnitRef<'_, Bytes>,
    entry: UnitOffset,
    units: &mut HashMap<DebugInfoOffset, Unit<Bytes>>,
    references: u32,
) -> Option<Arc<str>> {
    let entry = unit.entry(entry).ok()?;
    if let Some(name) = entry.attr_value(DW_AT_name) {
        return Some(unit.attr_string(name).ok()?.to_string_lossy().into());
    }
    let origin = entry.attr_value(DW_AT_abstract_origin);
    let references = references.checked_sub(1)?;
    match origin.or_else(|| entry.attr_value(DW_AT_specification))? {
        AttributeValue::UnitRef(entry) => dwarf_name(unit, entry, units, references),
        AttributeValue::DebugInfoRef(at) => {
            let (start, entry) = unit_of(unit.dwarf, at)?;
            let other = units.remove(&start).or_else(|| {
                let header = unit.dwarf.debug_info.header_from_offset(start).ok()?;
                unit.dwarf.unit(header).ok()
            })?;
            let name = dwarf_name(UnitRef::new(unit.dwarf, &other), entry, units, references);
            units.insert(start, other);
            name
        }
        _ => None,
    }
}

/// The unit that an offset lies in, and the offset within it.
fn unit_of(
    dwarf: &gimli::Dwarf<Bytes>,
    at: DebugInfoOffset,
) -> Option<(DebugInfoOffset, UnitOffset)> {
    let mut headers = dwarf.units();
    while let Ok(Some(header)) = headers.next() {
        if let Some(entry) = at.to_unit_offset(&header)
            && let UnitSectionOffset(start) = header.offset()
        {
            return Some((DebugInfoOffset(start), entry));
        }
    }
    None
}

fn section_bytes(object: &object::File<'static>, name: &str) -> &'static [u8] {
    let data = object
        .section_by_name(name)
        .and_then(|section| section.uncompressed_data().ok());
    match data {
        Some(std::borrow::Cow::Borrowed(bytes)) => bytes,
        // Decompressed once, and kept as the mapped ones are.
        Some(std::borrow::Cow::Owned(bytes)) => Vec::leak(bytes),
        None => &[],
    }
}

fn functions(object: &object::File<'static>) -> Vec<Function> {
    let symbols = object.symbols().chain(object.dynamic_symbols());
    let mut functions: Vec<Function> = symbols
        .filter(|symbol| symbol.kind() == SymbolKind::Text && symbol.is_definition())
        .filter_map(|symbol| {
            let name = symbol.name().ok().filter(|name| !name.is_empty())?;
            Some(Function {
                address: symbol.address(),
                size: symbol.size(),
                name,
            })
        })
        .collect();
    functions.sort_unstable_by_key(|function| function.address);
    functions
}

fn function_at(functions: &[Function], svma: u64) -> Option<&'static str> {
    let after = functions.partition_point(|function| function.address <= svma);
    let function = functions[..after].last()?;
    let inside = function.size == 0 || svma - function.address < function.size;
    inside.then_some(function.name)
}

fn build_id(object: &object::File<'_>) -> String {
    let id = object.build_id().ok().flatten().unwrap_or_default();
    id.iter().map(|byte| format!("{byte:02x}")).collect()
}
