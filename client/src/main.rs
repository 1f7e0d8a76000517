//! The program `client`; all of it is in [`client::ui`].

fn main() -> std::process::ExitCode {
    client::ui::main()
}
