fn main() {
    println!("medconsult {}", env!("CARGO_PKG_VERSION"));
}
