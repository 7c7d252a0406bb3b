//! The executable and the shared objects of the process: their ranges, build ids and unwind
//! information.
//!
//! Rules:
//! 1. The loader is asked by [`refresh_modules`], which the detector calls before it captures
//!    anything and on its own thread after that. A capture asks it if nobody has before.
//! 2. The executable is never unloaded, so its unwind information is borrowed where it is
//!    mapped. That of a shared object is copied while the loader's lock is held: a `dlclose`
//!    later must not make a capture read unmapped memory.
//! 3. A capture reads what is published without waiting: it only tries the lock, and while the
//!    modules change it captures nothing.

use std::ffi::{CStr, c_int, c_void};
use std::ops::{Deref, Range};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};

use framehop::{ExplicitModuleSectionInfo, MayAllocateDuringUnwind, Unwinder, UnwinderNative};
use parking_lot::{Mutex, RwLock, RwLockReadGuard};

/// A loaded executable or shared object.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Module {
    /// First address of the mapping of its code, on a page boundary.
    pub start: u64,
    /// One past the last address of that mapping.
    pub end: u64,
    /// The offset in the file of `start`, as `/proc/self/maps` has it.
    pub file_offset: u64,
    /// Subtract this from an address to get the one that the file's symbols use.
    pub bias: u64,
    /// The path of its file.
    pub path: Arc<str>,
    /// Its build id in hexadecimal; empty if it has none.
    pub build_id: Arc<str>,
}

/// Every module that is loaded, those that were unloaded after them.
pub fn modules() -> Arc<[Module]> {
    Arc::clone(&LOADED.read().modules)
}

/// Asks the loader for modules that were loaded or unloaded since. Cheap if there are none.
pub fn refresh_modules() {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _turn = ONE_AT_A_TIME.lock();
    let changes = loader_changes();
    if changes == CHANGES.swap(changes, Ordering::Relaxed) {
        return;
    }
    let known = LOADED.read().modules.clone();
    let loaded = Loaded::ask(&known);
    // Captures find nothing while it is locked: what was known before is dropped after.
    let _before = std::mem::replace(&mut *LOADED.write(), loaded);
    GENERATION.fetch_add(1, Ordering::Release);
}

/// Changes with every change of the modules.
pub(crate) fn generation() -> u32 {
    GENERATION.load(Ordering::Acquire)
}

/// What is loaded, for the length of a capture. `None` while it changes.
pub(crate) fn loaded() -> Option<RwLockReadGuard<'static, Loaded>> {
    LOADED.try_read()
}

static GENERATION: AtomicU32 = AtomicU32::new(0);
/// The loader's counts of loads and unloads at the last look; never both of these.
static CHANGES: AtomicU64 = AtomicU64::new(u64::MAX);
static LOADED: LazyLock<RwLock<Loaded>> = LazyLock::new(|| RwLock::new(Loaded::ask(&[])));

/// The modules as of the last look.
pub(crate) struct Loaded {
    modules: Arc<[Module]>,
    /// Of the loaded ones, in order.
    ranges: Vec<Range<u64>>,
    /// Frame pointers go without it.
    #[cfg_attr(taskleak_frame_pointers, allow(dead_code))]
    unwinder: UnwinderNative<Bytes, MayAllocateDuringUnwind>,
}

/// Unwind information: borrowed from the executable, or copied.
#[derive(Debug, Clone)]
pub(crate) enum Bytes {
    Mapped(&'static [u8]),
    Copied(Arc<[u8]>),
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Bytes::Mapped(bytes) => bytes,
            Bytes::Copied(bytes) => bytes,
        }
    }
}

impl Loaded {
    fn ask(known: &[Module]) -> Loaded {
        let mut found = Found {
            modules: Vec::new(),
            unwinder: UnwinderNative::new(),
        };
        // SAFETY: `each` is called during this call alone, with the pointer that is given here.
        unsafe { libc::dl_iterate_phdr(Some(each), (&raw mut found).cast()) };
        let Found {
            mut modules,
            unwinder,
        } = found;
        let mut ranges: Vec<_> = modules
            .iter()
            .map(|module| module.start..module.end)
            .collect();
        ranges.sort_unstable_by_key(|range| range.start);
        // Stacks that were captured before a module was unloaded still name it.
        let gone: Vec<Module> = known
            .iter()
            .filter(|module| !modules.contains(module))
            .cloned()
            .collect();
        modules.extend(gone);
        Loaded {
            modules: modules.into(),
            ranges,
            unwinder,
        }
    }
}

impl Loaded {
    /// Whether the address lies in a loaded module.
    pub(crate) fn covers(&self, address: u64) -> bool {
        let after = self.ranges.partition_point(|range| range.start <= address);
        after > 0 && self.ranges[after - 1].contains(&address)
    }

    #[cfg(not(taskleak_frame_pointers))]
    pub(crate) fn unwinder(&self) -> UnwinderNative<Bytes, MayAllocateDuringUnwind> {
        self.unwinder.clone()
    }
}

struct Found {
    modules: Vec<Module>,
    unwinder: UnwinderNative<Bytes, MayAllocateDuringUnwind>,
}

/// The loads and unloads that the loader has counted.
fn loader_changes() -> u64 {
    unsafe extern "C" fn counts(
        info: *mut libc::dl_phdr_info,
        _: usize,
        changes: *mut c_void,
    ) -> c_int {
        // SAFETY: the loader gives a valid `info`; `changes` is the `u64` passed below.
        unsafe { *changes.cast::<u64>() = (*info).dlpi_adds << 32 ^ (*info).dlpi_subs };
        1
    }
    let mut changes = 0u64;
    // SAFETY: `counts` is called during this call alone, with the pointer that is given here.
    unsafe { libc::dl_iterate_phdr(Some(counts), (&raw mut changes).cast()) };
    changes
}

unsafe extern "C" fn each(info: *mut libc::dl_phdr_info, _: usize, found: *mut c_void) -> c_int {
    // SAFETY: the loader gives a valid `info` while it holds its lock; `found` is the `Found`
    // that `Loaded::ask` passes and does not touch meanwhile.
    let (info, found) = unsafe { (&*info, &mut *found.cast::<Found>()) };
    let is_executable = found.modules.is_empty();
    if let Some(image) = Image::of(info) {
        found.add(&image, is_executable);
    }
    0
}

/// A module as the loader shows it, valid during its callback.
struct Image<'a> {
    bias: u64,
    name: &'a CStr,
    headers: &'a [libc::Elf64_Phdr],
}

impl<'a> Image<'a> {
    fn of(info: &'a libc::dl_phdr_info) -> Option<Image<'a>> {
        if info.dlpi_phdr.is_null() || info.dlpi_name.is_null() {
            return None;
        }
        // SAFETY: the loader gives an array of `dlpi_phnum` headers and a C string, both alive
        // during its callback.
        let (headers, name) = unsafe {
            let headers = std::slice::from_raw_parts(info.dlpi_phdr, info.dlpi_phnum.into());
            (headers, CStr::from_ptr(info.dlpi_name))
        };
        Some(Image {
            bias: info.dlpi_addr,
            name,
            headers,
        })
    }

    fn segments(&self, kind: u32) -> impl Iterator<Item = &'a libc::Elf64_Phdr> {
        self.headers
            .iter()
            .filter(move |header| header.p_type == kind)
    }

    /// The segment that this address (as the file has it) lies in.
    fn load_at(&self, svma: u64) -> Option<&'a libc::Elf64_Phdr> {
        self.segments(libc::PT_LOAD)
            .find(|load| (load.p_vaddr..load.p_vaddr + load.p_memsz).contains(&svma))
    }

    /// The mapped bytes of a range of the file's addresses.
    fn bytes(&self, svma: Range<u64>) -> Option<&'a [u8]> {
        let load = self.load_at(svma.start)?;
        let readable = load.p_flags & libc::PF_R != 0;
        if !readable || svma.end > load.p_vaddr + load.p_memsz || svma.end < svma.start {
            return None;
        }
        let start = std::ptr::with_exposed_provenance((self.bias + svma.start) as usize);
        // SAFETY: within a readable segment that the loader has mapped and, during its
        // callback, does not unmap; nothing writes to a segment that unwind tables are in.
        Some(unsafe { std::slice::from_raw_parts(start, (svma.end - svma.start) as usize) })
    }

    fn build_id(&self) -> String {
        let notes = self.segments(libc::PT_NOTE);
        let mut notes =
            notes.filter_map(|note| self.bytes(note.p_vaddr..note.p_vaddr + note.p_memsz));
        let id = notes.find_map(gnu_build_id).unwrap_or_default();
        id.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl Found {
    fn add(&mut self, image: &Image<'_>, is_executable: bool) {
        let code = image
            .segments(libc::PT_LOAD)
            .find(|load| load.p_flags & libc::PF_X != 0);
        let Some(code) = code else { return };
        // The loader maps whole pages.
        let before = code.p_vaddr % page_size();
        let path = match image.name.to_string_lossy() {
            name if name.is_empty() && is_executable => executable(),
            name => name.into_owned(),
        };
        let module = Module {
            start: image.bias + code.p_vaddr - before,
            end: (image.bias + code.p_vaddr + code.p_memsz).next_multiple_of(page_size()),
            file_offset: code.p_offset.saturating_sub(before),
            bias: image.bias,
            path: path.into(),
            build_id: image.build_id().into(),
        };
        if let Some(unwind) = unwind_info(image, is_executable) {
            let range = module.start..module.end;
            let name = module.path.to_string();
            self.unwinder
                .add_module(framehop::Module::new(name, range, image.bias, unwind));
        }
        self.modules.push(module);
    }
}

fn page_size() -> u64 {
    // SAFETY: asks for a constant of the system.
    let size = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    u64::try_from(size).unwrap_or(4096).max(1)
}

fn executable() -> String {
    std::env::current_exe()
        .map(|path| path.display().to_string())
        .unwrap_or_default()
}

fn unwind_info(image: &Image<'_>, is_executable: bool) -> Option<ExplicitModuleSectionInfo<Bytes>> {
    let header = image.segments(libc::PT_GNU_EH_FRAME).next()?;
    let header_svma = header.p_vaddr..header.p_vaddr + header.p_memsz;
    let header_bytes = image.bytes(header_svma.clone())?;
    let frame = eh_frame(header_bytes, header_svma.start)?;
    let load = image.load_at(frame)?;
    // Nothing tells its length; a terminator within the segment does.
    let frame_svma = frame..load.p_vaddr + load.p_memsz;
    let frame_bytes = image.bytes(frame_svma.clone())?;
    let keep = |bytes: &[u8]| {
        if is_executable {
            // SAFETY: the executable's segments are mapped for the life of the process.
            Bytes::Mapped(unsafe { std::slice::from_raw_parts(bytes.as_ptr(), bytes.len()) })
        } else {
            Bytes::Copied(bytes.into())
        }
    };
    let text = image
        .segments(libc::PT_LOAD)
        .find(|load| load.p_flags & libc::PF_X != 0);
    Some(ExplicitModuleSectionInfo {
        base_svma: 0,
        text_svma: text.map(|text| text.p_vaddr..text.p_vaddr + text.p_memsz),
        eh_frame_svma: Some(frame_svma),
        eh_frame: Some(keep(frame_bytes)),
        eh_frame_hdr_svma: Some(header_svma),
        eh_frame_hdr: Some(keep(header_bytes)),
        text: None,
        stubs_svma: None,
        stub_helper_svma: None,
        got_svma: None,
        unwind_info: None,
        debug_frame: None,
        text_segment_svma: None,
        text_segment: None,
    })
}

/// The address of `.eh_frame`, from `.eh_frame_hdr` at `at`. Only the encoding that linkers
/// use is read: relative to the field itself, four signed bytes (Linux Standard Base, 10.6.2).
fn eh_frame(header: &[u8], at: u64) -> Option<u64> {
    const RELATIVE_I32: u8 = 0x1b;
    let [1, RELATIVE_I32, _, _, offset @ ..] = header else {
        return None;
    };
    let offset = i32::from_le_bytes(offset.first_chunk().copied()?);
    at.checked_add(4)?.checked_add_signed(offset.into())
}

/// The build id among the notes of a segment.
fn gnu_build_id(mut notes: &[u8]) -> Option<&[u8]> {
    const GNU_BUILD_ID: u32 = 3;
    let word = |bytes: &[u8], n: usize| {
        bytes
            .get(n * 4..)?
            .first_chunk()
            .map(|word| u32::from_le_bytes(*word))
    };
    loop {
        let name_len = word(notes, 0)? as usize;
        let desc_len = word(notes, 1)? as usize;
        let kind = word(notes, 2)?;
        let name = notes.get(12..)?.get(..name_len)?;
        let desc_at = 12 + name_len.next_multiple_of(4);
        let desc = notes.get(desc_at..)?.get(..desc_len)?;
        if kind == GNU_BUILD_ID && name == b"GNU\0" {
            return Some(desc);
        }
        notes = notes.get(desc_at + desc_len.next_multiple_of(4)..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_executable_stands_first_and_covers_its_code() {
        let modules = modules();
        let here = the_executable_stands_first_and_covers_its_code as fn() as usize as u64;
        assert!(
            (modules[0].start..modules[0].end).contains(&here),
            "{modules:?}"
        );
        let covers = |address| LOADED.read().covers(address);
        assert!(covers(here) && !covers(0) && !covers(u64::MAX));
        assert_eq!(*modules[0].path, *executable());
    }

    #[test]
    fn a_build_id_is_found_among_notes() {
        let note = |kind: u8, name: &[u8; 4], desc: &[u8]| {
            let mut note = vec![4, 0, 0, 0, desc.len() as u8, 0, 0, 0, kind, 0, 0, 0];
            note.extend(name);
            note.extend(desc);
            note.resize(note.len().next_multiple_of(4), 0);
            note
        };
        let notes = [
            note(1, b"GNU\0", &[1, 2, 3]),
            note(3, b"GNU\0", &[0xab, 0xcd]),
        ]
        .concat();
        assert_eq!(gnu_build_id(&notes), Some(&[0xab, 0xcd][..]));
        assert_eq!(gnu_build_id(&notes[..notes.len() - 4]), None);
        assert_eq!(gnu_build_id(&note(3, b"ABC\0", &[1])), None);
        assert_eq!(gnu_build_id(&[0xff; 16]), None);
    }

    #[test]
    fn only_the_known_encoding_is_read() {
        assert_eq!(
            eh_frame(&[1, 0x1b, 3, 0x3b, 0x10, 0, 0, 0], 0x100),
            Some(0x114)
        );
        assert_eq!(
            eh_frame(&[1, 0x1b, 3, 0x3b, 0xf0, 0xff, 0xff, 0xff], 0x100),
            Some(0xf4)
        );
        assert_eq!(eh_frame(&[1, 0x03, 3, 0x3b, 0x10, 0, 0, 0], 0x100), None);
        assert_eq!(eh_frame(&[1, 0x1b], 0x100), None);
    }
}
