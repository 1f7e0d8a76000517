use proptest::prelude::*;

use super::*;
use crate::log::MAX_TEXT_LEN;

fn identity(seed: u8) -> Identity {
    Identity::from_seed([seed; 32])
}

fn conversation() -> ConversationId {
    ConversationId::direct(identity(1).peer_id(), identity(2).peer_id())
}

fn text(text: &str) -> Content {
    Content::text(text)
}

fn head(n: u8, depth: u64, author: u8) -> Head {
    Head { id: MessageId::of(&[n]), depth, author: identity(author).peer_id() }
}

fn compose(heads: &[Head], content: Content) -> Result<SignedMessage, MessageError> {
    Message::compose(&identity(1), conversation(), heads, content, 1_000, 7)
}

fn content_strategy() -> impl Strategy<Value = Content> {
    prop_oneof![
        "\\PC{0,200}".prop_map(Content::text),
        (24..=255_u8, proptest::collection::vec(any::<u8>(), 0..200))
            .prop_map(|(kind, body)| Content::Unknown { kind, body: body.into() }),
    ]
}

proptest! {
    #[test]
    fn what_is_composed_decodes(
        content in content_strategy(),
        parents in proptest::collection::btree_map(any::<[u8; 32]>(), 1..1_000_000_u64, 0..20),
        label_ms in 0..=MAX_LABEL_MS,
        nonce: u64,
    ) {
        let heads: Vec<_> = parents
            .iter()
            .map(|(id, depth)| Head {
                id: MessageId::from_bytes(*id),
                depth: *depth,
                author: identity(2).peer_id(),
            })
            .collect();
        let signed =
            Message::compose(&identity(1), conversation(), &heads, content.clone(), label_ms, nonce).unwrap();
        let again = SignedMessage::decode(signed.bytes().clone()).unwrap();
        prop_assert_eq!(&again, &signed);
        prop_assert_eq!(&again.message().content, &content);
        prop_assert_eq!(again.message().parents.len(), heads.len().min(MAX_PARENTS));
        prop_assert_eq!(again.message().depth, 1 + parents.values().max().copied().unwrap_or(0));
    }

    #[test]
    fn garbage_is_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        prop_assert!(SignedMessage::decode(bytes.into()).is_err());
    }

    #[test]
    fn every_changed_byte_is_noticed(at in 0..165_usize, flip in 1..=255_u8) {
        let signed = compose(&[], text("hello")).unwrap();
        prop_assert_eq!(signed.bytes().len(), FIXED_LEN + 2 + 5);
        let mut bytes = signed.bytes().to_vec();
        bytes[at] ^= flip;
        prop_assert!(SignedMessage::decode(bytes.into()).is_err());
    }

    #[test]
    fn every_cut_is_noticed(cut in 0..166_usize) {
        let signed = compose(&[], text("hello")).unwrap();
        prop_assert!(SignedMessage::decode(signed.bytes().slice(..cut)).is_err());
    }
}

#[test]
fn texts_are_bounded() {
    assert!(compose(&[], text(&"x".repeat(MAX_TEXT_LEN))).is_ok());
    assert_eq!(
        compose(&[], text(&"x".repeat(MAX_TEXT_LEN + 1))),
        Err(MessageError::TooLong { len: MAX_TEXT_LEN + 1, max: MAX_TEXT_LEN })
    );
}

#[test]
fn the_longest_message_fits_its_bound() {
    let heads: Vec<_> = (0..20).map(|n| head(n, 1, 2)).collect();
    let content = Content::Unknown { kind: 200, body: vec![0; MAX_BODY_LEN].into() };
    let signed = compose(&heads, content).unwrap();
    assert_eq!(signed.bytes().len(), MAX_SIGNED_LEN);
    assert!(SignedMessage::decode(signed.bytes().clone()).is_ok());
    let longer = Content::Unknown { kind: 200, body: vec![0; MAX_BODY_LEN + 1].into() };
    assert!(matches!(compose(&[], longer), Err(MessageError::TooLong { .. })));
}

#[test]
fn too_many_heads_keep_the_authors_own() {
    let mut heads: Vec<_> = (0..20).map(|n| head(n, 50 + u64::from(n), 2)).collect();
    heads.push(head(99, 3, 1));
    let signed = compose(&heads, text("x")).unwrap();
    assert!(signed.message().parents.contains(&heads[20].id));
    assert!(!signed.message().parents.contains(&heads[0].id));
    assert_eq!(signed.message().depth, 70);
}

#[test]
fn depth_and_parents_must_agree() {
    let honest = compose(&[head(1, 4, 2)], text("x")).unwrap().message().clone();
    let sign = |message: Message| message.sign(&identity(1)).map(|_| ());
    assert_eq!(sign(Message { depth: 0, ..honest.clone() }), Err(MessageError::Depth(0)));
    assert_eq!(sign(Message { depth: 1, ..honest.clone() }), Err(MessageError::Depth(1)));
    assert_eq!(sign(Message { parents: vec![], ..honest.clone() }), Err(MessageError::Depth(5)));
    let twice = vec![honest.parents[0]; 2];
    assert_eq!(sign(Message { parents: twice, ..honest.clone() }), Err(MessageError::Parents));
    let late = Message { label_ms: MAX_LABEL_MS + 1, ..honest };
    assert_eq!(sign(late), Err(MessageError::Label(MAX_LABEL_MS + 1)));
}

#[test]
fn another_version_says_so() {
    let mut bytes = compose(&[], text("x")).unwrap().bytes().to_vec();
    bytes[0] = 2;
    assert_eq!(SignedMessage::decode(bytes.into()), Err(MessageError::Version(2)));
}

#[test]
fn somebody_elses_signature_is_refused() {
    let mut message = compose(&[], text("x")).unwrap().message().clone();
    message.author = identity(2).peer_id();
    let forged = message.sign(&identity(1)).unwrap();
    assert_eq!(SignedMessage::decode(forged.bytes().clone()), Err(MessageError::Signature));
}
