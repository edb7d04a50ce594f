//! The migrations are compiled in; cargo must notice when one is added.

fn main() {
    println!("cargo:rerun-if-changed=migrations");
}
