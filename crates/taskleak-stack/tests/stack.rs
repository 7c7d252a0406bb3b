//! Captures of real stacks, symbolized from this binary's own debug info.
//!
//! Unsafe code: switching to a foreign stack, calling generated code and C libraries.
#![allow(unsafe_code)]
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

use std::cell::RefCell;
use std::hint::black_box;
use std::sync::{LazyLock, Mutex};
use std::time::Instant;

use taskleak_stack::{
    Bound, DebugInfo, Missed, StackId, Symbolizer, addresses, capture, counters, modules,
    refresh_modules,
};

#[inline(never)]
fn leaf(bound: Bound) -> Result<StackId, Missed> {
    black_box(captured(bound, true))
}

/// Tries again while another test loads a library.
#[inline(always)]
fn captured(bound: Bound, may_unwind: bool) -> Result<StackId, Missed> {
    loop {
        match capture(bound, &mut || may_unwind) {
            Err(Missed::Busy) => std::thread::yield_now(),
            captured => return captured,
        }
    }
}

#[inline(never)]
fn middle(bound: Bound) -> Result<StackId, Missed> {
    black_box(leaf(bound))
}

#[inline(never)]
fn other(bound: Bound) -> Result<StackId, Missed> {
    black_box(leaf(bound))
}

#[inline(never)]
fn deep(depth: u32) -> Result<StackId, Missed> {
    if depth == 0 {
        black_box(leaf(Bound::THREAD))
    } else {
        black_box(deep(depth - 1))
    }
}

fn names(id: StackId) -> Vec<String> {
    static SYMBOLIZER: LazyLock<Mutex<Symbolizer>> = LazyLock::new(Mutex::default);
    let mut symbolizer = SYMBOLIZER.lock().unwrap();
    let symbols = addresses(id)
        .iter()
        .map(|address| symbolizer.symbolize(address - 1));
    symbols
        .flat_map(|symbols| symbols.to_vec())
        .map(|symbol| {
            symbol
                .linkage_name
                .or(symbol.dwarf_name)
                .unwrap_or_default()
                .to_string()
        })
        .collect()
}

/// That the names contain these, in this order.
fn assert_in_order(names: &[String], expected: &[&str]) {
    let mut names = names.iter();
    for part in expected {
        assert!(
            names.any(|name| name.contains(part)),
            "{part} in order in {names:?}"
        );
    }
}

#[test]
fn functions_stand_in_order_down_to_the_thread() {
    let id = middle(Bound::THREAD).unwrap();
    let test = "functions_stand_in_order_down_to_the_thread";
    assert_in_order(
        &names(id),
        &["leaf", "middle", test, "__rust_begin_short_backtrace"],
    );
}

#[test]
fn equal_stacks_have_equal_ids() {
    let ids: Vec<StackId> = (0..10).map(|_| middle(Bound::THREAD).unwrap()).collect();
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    assert_ne!(ids[0], other(Bound::THREAD).unwrap());
    assert_eq!(StackId::from_u32(ids[0].get()), Some(ids[0]));
}

#[test]
fn a_known_stack_is_not_unwound() {
    #[inline(never)]
    fn at(may_unwind: bool) -> Result<StackId, Missed> {
        black_box(captured(Bound::THREAD, may_unwind))
    }
    let results: Vec<_> = [false, true, false]
        .into_iter()
        .map(|may| black_box(at(may)))
        .collect();
    assert_eq!(results[0], Err(Missed::Unwanted));
    assert_eq!(results[1], results[2]);
    assert!(results[1].is_ok());
    let unwanted = counters()
        .missed
        .iter()
        .find(|(missed, _)| *missed == Missed::Unwanted)
        .copied();
    assert!(unwanted.unwrap().1 >= 1);
}

#[test]
fn a_bound_cuts_the_root_off() {
    #[inline(never)]
    fn far_below(depth: u32, bound: Bound) -> Result<StackId, Missed> {
        let room = black_box([0u8; 512]);
        let result = match depth {
            0 => leaf(bound),
            _ => far_below(depth - 1, bound),
        };
        black_box(room);
        black_box(result)
    }
    let bounded = addresses(far_below(20, Bound::here()).unwrap());
    let whole = addresses(far_below(20, Bound::THREAD).unwrap());
    assert!(
        bounded.len() > 20 && bounded.len() < whole.len(),
        "{} {}",
        bounded.len(),
        whole.len()
    );
    let test = "a_bound_cuts_the_root_off";
    assert_in_order(
        &names(far_below(20, Bound::here()).unwrap()),
        &["far_below", test],
    );
}

#[test]
fn what_is_recognized_is_what_unwinding_gives() {
    // Random paths through three functions; each stack twice, the second time by its shape.
    #[inline(never)]
    fn walk(path: &[u8]) -> Result<StackId, Missed> {
        match path {
            [] => black_box(leaf(Bound::THREAD)),
            [0, rest @ ..] => black_box(walk(rest)),
            [1, rest @ ..] => black_box(detour(rest)),
            [_, rest @ ..] => black_box(wide(rest)),
        }
    }
    #[inline(never)]
    fn detour(path: &[u8]) -> Result<StackId, Missed> {
        let room = black_box([path.len(); 9]);
        let id = walk(path);
        black_box(room);
        id
    }
    #[inline(never)]
    fn wide(path: &[u8]) -> Result<StackId, Missed> {
        #[repr(align(64))]
        struct Wide([u8; 64]);
        let room = black_box(Wide([path.len() as u8; 64]));
        let id = walk(path);
        black_box(room.0[0]);
        id
    }
    let mut state = 42u32;
    let mut random = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state >> 24
    };
    for _ in 0..300 {
        let path: Vec<u8> = (0..random() % 12).map(|_| (random() % 3) as u8).collect();
        let ids: Vec<_> = (0..2).map(|_| walk(&path).unwrap()).collect();
        assert_eq!(ids[0], ids[1]);
        let names = names(ids[0]);
        let count = |part: &str| names.iter().filter(|name| name.contains(part)).count();
        assert_eq!(
            count("detour"),
            path.iter().filter(|step| **step == 1).count(),
            "{names:?}"
        );
        assert_eq!(
            count("wide"),
            path.iter().filter(|step| **step == 2).count(),
            "{names:?}"
        );
    }
}

#[test]
fn a_deep_stack_loses_its_root() {
    let id = deep(1000).unwrap();
    assert_eq!(addresses(id).len(), 128);
    assert_eq!(id, deep(1000).unwrap());
}

#[test]
fn threads_capture_at_once() {
    std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                for depth in 0..200 {
                    let id = deep(depth % 50).unwrap();
                    assert!(addresses(id).len() > depth as usize % 50);
                }
            });
        }
    });
}

#[test]
fn a_capture_at_the_end_of_a_thread_does_no_harm() {
    struct AtEnd;
    impl Drop for AtEnd {
        fn drop(&mut self) {
            assert!(middle(Bound::THREAD).is_ok());
        }
    }
    thread_local!(static AT_END: RefCell<Option<AtEnd>> = const { RefCell::new(None) });
    std::thread::spawn(|| AT_END.set(Some(AtEnd)))
        .join()
        .unwrap();
}

#[test]
fn a_foreign_stack_is_not_read() {
    extern "C" fn on_foreign_stack(result: *mut Option<Missed>) {
        // SAFETY: the pointer that is passed below.
        unsafe { *result = leaf(Bound::THREAD).err() };
    }
    let mut memory = vec![0u128; 64 * 1024];
    let top = memory.as_mut_ptr_range().end;
    let mut result: Option<Missed> = None;
    // SAFETY: runs a function that does not unwind on a stack of 1 MiB, aligned to 16, and comes
    // back to this one, whose pointer a callee-saved register keeps.
    unsafe {
        std::arch::asm!(
            "mov r12, rsp", "mov rsp, {top}", "call {call}", "mov rsp, r12",
            top = in(reg) top, call = in(reg) on_foreign_stack as extern "C" fn(_),
            in("rdi") &raw mut result, out("r12") _, clobber_abi("C"),
        );
    }
    assert_eq!(result, Some(Missed::ForeignStack));
}

#[test]
fn generated_code_ends_the_trace() {
    extern "C" fn called_by_generated_code(result: *mut Option<StackId>) {
        // SAFETY: the pointer that is passed below.
        unsafe { *result = middle(Bound::THREAD).ok() };
    }
    // sub rsp, 8; call rsi; add rsp, 8; ret: it has no unwind information.
    let code = [
        0x48, 0x83, 0xec, 0x08, 0xff, 0xd6, 0x48, 0x83, 0xc4, 0x08, 0xc3,
    ];
    let mut result: Option<StackId> = None;
    // SAFETY: a page of its own, which is filled, made executable, called with the two
    // arguments it takes, and unmapped.
    unsafe {
        let (read_write, shared) = (
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
        );
        // Not where a library was that another test has unloaded: its addresses keep their names.
        let is_a_module = |page: usize| {
            let mut modules = modules().to_vec().into_iter();
            modules.any(|module| (module.start..module.end).contains(&(page as u64)))
        };
        let page = std::iter::repeat_with(|| {
            libc::mmap(std::ptr::null_mut(), 4096, read_write, shared, -1, 0)
        })
        .find(|page| !is_a_module(*page as usize))
        .unwrap();
        assert_ne!(page, libc::MAP_FAILED);
        page.cast::<u8>()
            .copy_from_nonoverlapping(code.as_ptr(), code.len());
        assert_eq!(
            libc::mprotect(page, 4096, libc::PROT_READ | libc::PROT_EXEC),
            0
        );
        type Function = extern "C" fn(*mut Option<StackId>);
        let generated: extern "C" fn(*mut Option<StackId>, Function) = std::mem::transmute(page);
        generated(&raw mut result, called_by_generated_code);
        libc::munmap(page, 4096);
    }
    let names = names(result.unwrap());
    assert_in_order(&names, &["leaf", "middle", "called_by_generated_code"]);
    assert!(
        names.last().unwrap().contains("called_by_generated_code"),
        "{names:?}"
    );
}

#[test]
fn a_library_loaded_later_is_found() {
    thread_local!(static RESULT: RefCell<Option<StackId>> = const { RefCell::new(None) });
    extern "C" fn called_by_library() {
        RESULT.set(middle(Bound::THREAD).ok());
    }
    let dir = std::env::temp_dir().join(format!("taskleak-stack-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let (source, library) = (dir.join("late.c"), dir.join("late.so"));
    let code = "void late(void (*call)(void)) { call(); __asm__ volatile(\"\"); }";
    std::fs::write(&source, code).unwrap();
    let built = std::process::Command::new("cc")
        // As the rest of the program, where it is built with frame pointers.
        .args([
            "-shared",
            "-fPIC",
            "-O1",
            "-g",
            "-fno-omit-frame-pointer",
            "-o",
        ])
        .args([&library, &source])
        .status()
        .unwrap();
    assert!(built.success());
    let before = modules().len();
    let path = std::ffi::CString::new(library.to_str().unwrap()).unwrap();
    // SAFETY: loads the library just built and calls its one function by its type.
    unsafe {
        let handle = libc::dlopen(path.as_ptr(), libc::RTLD_NOW);
        assert!(!handle.is_null());
        refresh_modules();
        let late = libc::dlsym(handle, c"late".as_ptr());
        assert!(!late.is_null());
        let late: extern "C" fn(extern "C" fn()) = std::mem::transmute(late);
        late(called_by_library);
        let names = names(RESULT.take().unwrap());
        let test = "a_library_loaded_later_is_found";
        assert_in_order(&names, &["leaf", "called_by_library", "late", test]);
        assert!(modules().len() > before);
        libc::dlclose(handle);
        refresh_modules();
        assert!(
            modules()
                .iter()
                .any(|module| module.path.ends_with("late.so")),
            "kept by name"
        );
    }
    std::fs::remove_dir_all(dir).unwrap();
}

#[test]
fn debug_info_of_a_test_is_full() {
    let mut symbolizer = Symbolizer::new();
    let id = middle(Bound::THREAD).unwrap();
    let symbols = symbolizer.symbolize(addresses(id)[0] - 1);
    let leaf = symbols.last().unwrap();
    assert_eq!(leaf.dwarf_name.as_deref(), Some("leaf"));
    assert!(leaf.file.as_ref().unwrap().ends_with("tests/stack.rs"));
    assert_eq!(symbolizer.debug_info(), DebugInfo::Full);
    assert!(symbolizer.symbolize(1).is_empty());
}

/// `cargo test --release -p taskleak-stack -- --ignored --nocapture`
#[test]
#[ignore = "a measurement"]
fn cost_of_a_capture() {
    #[inline(never)]
    fn nest(depth: u32, call: &mut dyn FnMut()) {
        if depth == 0 {
            call();
        } else {
            nest(depth - 1, call);
        }
        black_box(());
    }
    nest(14, &mut || {
        let mut frames = 0;
        let start = Instant::now();
        for _ in 0..1_000_000 {
            frames = addresses(leaf(Bound::THREAD).unwrap()).len();
        }
        let took = start.elapsed() / 1_000_000;
        println!("known, {frames} frames: {took:?}, {:?}", counters());
    });
}
