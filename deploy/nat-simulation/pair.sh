# One pair: two clients that meet and chat, and what is to be seen of it from outside. Part of `run`.
# shellcheck shell=bash disable=SC2154

# Starts a client on a machine. Its events go to $work/HOST.json, its errors to $work/HOST.err; what is written
# to the descriptor say[SIDE] goes to its input.
declare -A say
clients=() pair_number=0
start_client() {
    local side=$1 host=$2
    mkfifo "$work/$host.in"
    docker exec -i "$project-$host" client --server "$server" --data-dir "/data/$pair_number" --name "$host" --json \
        <"$work/$host.in" >"$work/$host.json" 2>"$work/$host.err" 9>&- &
    clients+=($!)
    exec {say[$side]}>"$work/$host.in"
}

count() { grep -c -- "$2" "$work/$1.json" || true; }

# Waits until at least N events of a machine match a pattern. Usage: wait_for HOST N PATTERN SECONDS
wait_for() {
    local end=$((SECONDS + $4))
    until [ "$(count "$1" "$3")" -ge "$2" ]; do
        [ "$SECONDS" -lt "$end" ] || return 1
        sleep 0.05
    done
}

# A field of an event in its JSON form. Usage: field NAME <<<"$event"
field() { sed -n "s/.*\"$1\":\"\{0,1\}\([^\",}]*\).*/\1/p"; }

# The newest event of a machine that matches.
newest() { grep -- "$2" "$work/$1.json" | tail -n 1; }

readonly direct='"event":"path".*"via":"\(udp\|lan\|tcp\)"'

# How long after both were ready the first had a direct path. Usage: direct_after HOST OTHER
direct_after() {
    local ready first host
    ready=$(for host in "$1" "$2"; do newest "$host" '"event":"ready"' | field at; done | sort -n | tail -n 1)
    first=$(grep -m 1 -- "$direct" "$work/$1.json" | field at)
    if [ -n "$first" ]; then echo "$((first - ready)) ms"; else echo -; fi
}

# The machine whose counters see what a host gets from outside: its router, if it has one.
watcher() { case $1 in public-*) echo "$project-$1" ;; *) echo "$project-$1-router" ;; esac; }

reset_counters() { docker exec "$1" nft reset counters table inet watch >/dev/null; }
counted() {
    docker exec "$1" nft list counter inet watch "$2" | sed -n 's/.*bytes \([0-9]*\).*/\1/p'
}

# What a pair of kinds must come to. An endpoint-dependent mapping with random ports cannot be foreseen: it takes a
# partner who lets anybody in. Nor can the port of a router that has answered the partner's early packet.
expected() {
    case $1:$2 in
        preserving:preserving) if [ -n "${HOBNOB_NAT_WAN_INPUT:-}" ]; then echo either; else echo direct; fi ;;
        symmetric:symmetric) echo relay ;;
        preserving:symmetric | symmetric:preserving) echo either ;;
        *) echo direct ;;
    esac
}

# Lets both say their lines, one by one in turn.
chat() {
    local n filler
    filler=$(printf '%*s' "$line_length" '' | tr ' ' .)
    for ((n = 1; n <= lines; n++)); do
        printf '%.*s\n' "$line_length" "line $n from $1 $filler" >&"${say[a]}"
        printf '%.*s\n' "$line_length" "line $n from $2 $filler" >&"${say[b]}"
        sleep 0.02
    done
    local host other end=$((SECONDS + chat_patience))
    for host in "$1" "$2"; do
        if [ "$host" = "$1" ]; then other=$2; else other=$1; fi
        wait_for "$host" "$lines" "\"text\":\"line [0-9]* from $other " $((end - SECONDS)) || return 1
        wait_for "$host" "$lines" '"state":"delivered"' $((end - SECONDS)) || return 1
    done
}

# How a client's packets travel now: sets how, remote and rtt.
ask_path() {
    local event
    echo /peers >&"$2"
    wait_for "$1" 1 '"event":"peers"' 5 || return 1
    event=$(newest "$1" '"event":"peers"')
    how=$(field via <<<"$event") remote=$(field remote <<<"$event") rtt="$(field rtt_ms <<<"$event") ms"
    [ "$remote" != null ] || remote=-
    [ "$rtt" != 'null ms' ] || rtt=-
}

# Why a pair did not come to what it must, or nothing. Direct means: most of what was said. On a busy machine an answer
# may come late, and a client then sends both ways for a while.
complaint() {
    local want=$1 way_a=$2 way_b=$3 through=$4 past=$5
    if [ "$way_a" != "$way_b" ]; then
        echo 'the two sides do not agree'
    elif [ "$want" != either ] && [ "$want" != "$way_a" ]; then
        echo "$want was expected"
    elif [ "$way_a" = direct ] && [ "$through" -gt $((chat_bytes / 2)) ]; then
        echo 'direct, they say, but the server was sent too much'
    elif [ "$way_a" = direct ] && [ "$past" -lt $((chat_bytes / 2)) ]; then
        echo 'direct, they say, but too little arrived from the other side'
    elif [ "$way_a" = relay ] && [ "$through" -lt "$chat_bytes" ]; then
        echo 'relayed, they say, but not all of the chat arrived at the server'
    fi
}

way_of() { if [ "$1" = relay ]; then echo relay; else echo direct; fi; }

# What the clients say of their paths, and what has arrived where: sets the variables of `row`.
measure() {
    local how remote rtt from_b from_a
    ask_path "$1" "${say[a]}" || return 1
    how_a=$how remote_a=$remote rtt_a=$rtt
    ask_path "$2" "${say[b]}" || return 1
    how_b=$how remote_b=$remote
    through=$(counted "$project-rendezvous" from_peers) || return 1
    from_b=$(counted "$(watcher "$1")" from_peers) || return 1
    from_a=$(counted "$(watcher "$2")" from_peers) || return 1
    past=$((from_a + from_b))
}

# The row of the table, and whether all is well.
row() {
    local a=$1 b=$2 want=$3 how_a how_b remote_a remote_b rtt_a through past verdict
    measure "$a" "$b" || { failed "$a" "$b" 'does not say how it went'; return; }
    verdict=$(complaint "$want" "$(way_of "$how_a")" "$(way_of "$how_b")" "$through" "$past")
    table_row "${a%-a}" "${b%-b}" "$how_a" "$how_b" "$remote_a" "$remote_b" "$rtt_a" "$(direct_after "$a" "$b")" \
        "$((lines * 2)) of $((lines * 2))" "$((through / 1000)) kB" "$((past / 1000)) kB" "${verdict:-as expected}"
    [ -z "$verdict" ]
}

failed() {
    table_row "${1%-a}" "${2%-b}" - - - - - - - - - "$3"
    sed 's/^/  /' "$work/$1.err" "$work/$2.err" >&2
    return 1
}

# Lets two machines meet, find their path, and chat. Both are newcomers: the lobby pairs them.
meet_and_chat() {
    local a=$1 b=$2 host want
    want=$(expected "${a%-a}" "${b%-b}")
    start_client a "$a"
    start_client b "$b"
    for host in "$a" "$b"; do
        wait_for "$host" 1 '"event":"connected"' "$meet_patience" || { failed "$a" "$b" 'did not meet'; return; }
    done
    if [ "$want" = direct ]; then
        # Where this fails the row will say so.
        wait_for "$a" 1 "$direct" "$direct_patience" || true
        wait_for "$b" 1 "$direct" "$direct_patience" || true
    else
        sleep "$hard_patience"
    fi
    # What belongs to the beginning is not counted.
    sleep "$settle"
    for host in "$project-rendezvous" "$(watcher "$a")" "$(watcher "$b")"; do reset_counters "$host"; done
    chat "$a" "$b" || { failed "$a" "$b" 'not all was said and acknowledged'; return; }
    row "$a" "$b" "$want"
}

# Lets the clients leave; one that does not is left to the end of its container.
end_clients() {
    local side client end=$((SECONDS + quit_patience))
    for side in a b; do
        echo /quit >&"${say[$side]}" || true
        exec {say[$side]}>&-
    done
    for client in "${clients[@]}"; do
        while kill -0 "$client" 2>/dev/null && [ "$SECONDS" -lt "$end" ]; do sleep 0.05; done
        kill "$client" 2>/dev/null || true
        wait "$client" || true
    done
    clients=()
}

# A pair of kinds, from its clients' start to their end.
try_pair() {
    local a=$1-a b=$2-b code=0
    pair_number=$((pair_number + 1))
    meet_and_chat "$a" "$b" || code=1
    end_clients
    rm -f "$work/$a".* "$work/$b".*
    return "$code"
}
