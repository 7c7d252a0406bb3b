//! Finds out whether the program is built with frame pointers.

fn main() {
    println!("cargo::rerun-if-env-changed=CARGO_ENCODED_RUSTFLAGS");
    println!("cargo::rustc-check-cfg=cfg(taskleak_frame_pointers)");
    println!("cargo::rustc-check-cfg=cfg(taskleak_unwind)");
    let var = |name: &str| std::env::var(name).unwrap_or_default();
    let flags = var("CARGO_ENCODED_RUSTFLAGS");
    let on = |flag: &str| {
        let value = flag
            .trim_start_matches("-C")
            .trim_start_matches("force-frame-pointers");
        flag.contains("force-frame-pointers")
            && matches!(value, "" | "=y" | "=yes" | "=on" | "=true" | "=always")
    };
    let known = var("CARGO_CFG_TARGET_OS") == "linux"
        && matches!(var("CARGO_CFG_TARGET_ARCH").as_str(), "x86_64" | "aarch64");
    if known {
        println!("cargo::rustc-cfg=taskleak_unwind");
        if flags.split('\x1f').any(on) {
            println!("cargo::rustc-cfg=taskleak_frame_pointers");
        }
    }
}
