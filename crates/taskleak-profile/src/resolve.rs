//! From symbolized addresses to a stack that people read: names, hidden frames, wait, identity.

use std::hash::{Hash, Hasher};

use crate::hide;
use crate::name::Name;
use crate::raw::RawFrame;
use crate::snapshot::{Frame, Stack, Wait};
use crate::wait;

/// A stack whose frames have names, with what follows from them alone.
#[derive(Debug, Clone)]
pub struct ResolvedStack {
    /// Every frame, leaf first; frames of the runtime are marked as hidden.
    pub frames: Stack,
    /// What a task waits for whose waker was cloned at this stack's leaf. Never
    /// [`Wait::Nothing`], and without meaning for the stack of a spawn.
    pub wait: Wait,
    /// The primitive behind `wait`: `tokio::sync::mpsc`, `flume`; empty if it is not known.
    pub primitive: String,
    /// Equal for stacks whose visible frames are equal, in every run of the same binary.
    pub identity: u64,
}

impl ResolvedStack {
    /// Names, hides and classifies the frames of a stack, leaf first.
    ///
    /// The names are as good as the build: without debug info a user's function that was inlined
    /// into a library's is only known by that one's type parameters (`v0` mangling), and the
    /// linker may have folded that one with its like of another task.
    pub fn new(raw: &[RawFrame]) -> Self {
        let mut names = names(raw);
        let (wait, primitive) = wait::classify(&names);
        name_inlined_futures(&mut names);
        let hidden = hide::hidden(&names);
        let frames: Stack = frames(raw, names, &hidden).into();
        ResolvedStack {
            wait,
            primitive: primitive.to_owned(),
            identity: identity(raw, &frames),
            frames,
        }
    }
}

/// One name for each frame that is shown: for each symbol, or for an address without any.
fn names(raw: &[RawFrame]) -> Vec<Name> {
    let mut names: Vec<Name> = Vec::new();
    for frame in raw {
        match &frame.symbols[..] {
            [] => names.push(Name::default()),
            symbols => names.extend(symbols.iter().map(Name::of)),
        }
    }
    for polled in 1..names.len() {
        let (inner, outer) = names.split_at_mut(polled);
        inner[polled - 1].adopt_path(&outer[0]);
    }
    names
}

/// Shows the library's function that a user's future was inlined into as that future.
fn name_inlined_futures(names: &mut [Name]) {
    let mut shown = String::new();
    for name in names {
        if let Some(future) = name.future.take_if(|future| *future != shown) {
            *name = Name::of_future(future);
        }
        if !hide::is_leaf_side(name) {
            shown.clone_from(&name.shown);
        }
    }
}

fn frames(raw: &[RawFrame], names: Vec<Name>, hidden: &[bool]) -> Vec<Frame> {
    let mut names = names.into_iter().zip(hidden);
    let mut frames = Vec::with_capacity(hidden.len());
    for at in raw {
        let outermost = at.symbols.len().saturating_sub(1);
        for index in 0..=outermost {
            let symbol = at.symbols.get(index);
            let Some((name, hidden)) = names.next() else {
                return frames;
            };
            frames.push(Frame {
                function: name.shown,
                file: symbol.and_then(|symbol| symbol.file.clone()),
                line: symbol.and_then(|symbol| symbol.line),
                address: at.address,
                inlined: index < outermost,
                hidden: *hidden,
            });
        }
    }
    frames
}

/// FNV-1a over what is visible of each address: functions and lines, and where no line is known
/// [`RawFrame::stable`].
///
/// Addresses alone would tell apart what looks the same: the compiler copies a call, and inlines
/// different paths of the runtime into it.
fn identity(raw: &[RawFrame], frames: &[Frame]) -> u64 {
    let mut hash = Fnv(0xcbf2_9ce4_8422_2325);
    let mut rest = frames;
    for at in raw {
        let (own, others) = rest.split_at(at.symbols.len().max(1));
        rest = others;
        let mut visible = own.iter().filter(|frame| !frame.hidden).peekable();
        if visible.peek().is_some() && own.iter().all(|frame| frame.hidden || frame.line.is_none())
        {
            at.stable.hash(&mut hash);
        }
        for frame in visible {
            (&frame.function, &frame.file, frame.line).hash(&mut hash);
        }
    }
    hash.finish()
}

/// The 64-bit FNV-1a hash, <http://www.isthe.com/chongo/tech/comp/fnv/>: the same in every process.
struct Fnv(u64);

impl Hasher for Fnv {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
