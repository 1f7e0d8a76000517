# Short names for the commands of every day.

test:
    ./test

ci:
    .ci/run

lint:
    cargo fmt --check
    cargo clippy --workspace --all-targets -- -D warnings

bench *args:
    cargo run --release -p tests --bin bench -- {{args}}

lab *args:
    cargo run --release -p tests --bin lab -- {{args}}
