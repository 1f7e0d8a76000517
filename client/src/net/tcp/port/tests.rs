use std::sync::Mutex;

use super::*;

/// Connects two ports of this machine to each other as peers do, the second one `later`; returns what each side got.
async fn meet(later: Duration) -> [Vec<(SocketAddr, TcpStream)>; 2] {
    let ports = [Port::open().unwrap(), Port::open().unwrap()];
    let addrs = [0, 1].map(|side: usize| SocketAddr::from((Ipv4Addr::LOCALHOST, ports[side].number)));
    let got = [Mutex::default(), Mutex::default()];
    let play = |side: usize, wait: Duration| {
        let (port, to, got) = (&ports[side], addrs[1 - side], &got[side]);
        async move {
            let take = |stream, from| {
                let mut got: std::sync::MutexGuard<'_, Vec<_>> = got.lock().unwrap();
                got.push((from, stream));
            };
            let connect = async {
                tokio::time::sleep(wait).await;
                if let Ok(stream) = port.connect(to).await {
                    take(stream, to);
                }
                tokio::time::sleep(Duration::from_millis(200)).await;
            };
            tokio::select! {
                () = port.accept(take) => {}
                () = connect => {}
            }
        }
    };
    tokio::join!(play(0, Duration::ZERO), play(1, later));
    got.map(|got| got.into_inner().unwrap())
}

#[tokio::test]
async fn whoever_connects_first_both_have_the_one_connection_between_the_two_ports() {
    for later in [0, 0, 0, 20].map(Duration::from_millis) {
        let [mut a, mut b] = meet(later).await;
        assert_eq!((a.len(), b.len()), (1, 1), "{a:?} {b:?}");
        let ((from_a, mut a), (from_b, mut b)) = (a.remove(0), b.remove(0));
        assert_eq!((a.peer_addr().unwrap(), b.peer_addr().unwrap()), (from_a, from_b));
        assert_eq!(a.local_addr().unwrap(), from_b);
        let mut word = [0; 4];
        a.write_all(b"ping").await.unwrap();
        b.read_exact(&mut word).await.unwrap();
        assert_eq!(&word, b"ping");
    }
}

#[tokio::test]
async fn a_server_that_says_nothing_sound_is_done_without() {
    for answer in [&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], &[0, 0], &[]] {
        let server = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let addr = server.local_addr().unwrap();
        let serve = async {
            let (mut stream, _) = server.accept().await.unwrap();
            let mut question = [0; tunnel::MAGIC.len() + stream_frame::HEADER_LEN + binding::HEADER_LEN];
            stream.read_exact(&mut question).await.unwrap();
            assert!(question.starts_with(&tunnel::MAGIC));
            stream.write_all(answer).await.unwrap();
        };
        let interfaces = || vec![Ipv4Addr::new(192, 0, 2, 1).into()];
        let ((), prepared) = tokio::join!(serve, Port::prepare(Some(addr.to_string()), interfaces));
        let (port, addrs, passes) = prepared.unwrap();
        assert_eq!(passes, Passes::No);
        assert_eq!(addrs, [SocketAddr::from(([192, 0, 2, 1], port.number))]);
    }
}
