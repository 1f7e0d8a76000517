use common::identity::Identity;
use proptest::prelude::*;

use super::*;

fn peer(seed: u8) -> PeerId {
    Identity::from_seed([seed; 32]).peer_id()
}

fn id() -> impl Strategy<Value = MessageId> {
    any::<[u8; 32]>().prop_map(MessageId::from_bytes)
}

fn key() -> impl Strategy<Value = PeerId> {
    any::<[u8; 32]>().prop_map(PeerId::from_bytes)
}

fn any_content() -> impl Strategy<Value = Content> {
    let text = ("\\PC{0,80}", proptest::option::of(id()), proptest::collection::btree_set(key(), 0..5))
        .prop_map(|(text, reply_to, mentions)| {
            Content::Text(Text { text, reply_to, mentions: mentions.into_iter().collect() })
        });
    prop_oneof![
        text,
        (id(), "\\PC{0,80}").prop_map(|(target, text)| Content::Edit { target, text }),
        id().prop_map(|target| Content::Delete { target }),
        (id(), "\\PC{1,8}", any::<bool>()).prop_map(|(target, sign, add)| Content::React {
            target,
            sign,
            reaction: if add { Reaction::Add } else { Reaction::Remove },
        }),
        "\\PC{1,20}".prop_map(|name| Content::Room(Act::Create { name })),
        key().prop_map(|peer| Content::Room(Act::Add(peer))),
        key().prop_map(|peer| Content::Room(Act::Remove(peer))),
        Just(Content::Room(Act::Accept)),
        Just(Content::Room(Act::Leave)),
        key().prop_map(|peer| Content::Room(Act::Appoint(peer, Role::Owner))),
        key().prop_map(|peer| Content::Room(Act::Appoint(peer, Role::Member))),
        "\\PC{0,40}".prop_map(|topic| Content::Room(Act::Topic(topic))),
        "\\PC{1,20}".prop_map(|name| Content::Room(Act::Rename(name))),
        (24..=255_u8, proptest::collection::vec(any::<u8>(), 0..100))
            .prop_map(|(kind, body)| Content::Unknown { kind, body: body.into() }),
    ]
}

proptest! {
    #[test]
    fn what_is_written_is_read(content in any_content()) {
        prop_assert_eq!(Content::parse(content.kind(), content.body().into()), Ok(content));
    }

    #[test]
    fn there_is_one_encoding(kind: u8, body in proptest::collection::vec(any::<u8>(), 0..120)) {
        if let Ok(content) = Content::parse(kind, body.clone().into()) {
            prop_assert_eq!(content.kind(), kind);
            prop_assert_eq!(content.body(), body);
        }
    }
}

#[test]
fn bounds_hold() {
    let parse = |content: &Content| Content::parse(content.kind(), content.body().into());
    let sign = "x".repeat(MAX_REACTION_LEN + 1);
    let target = MessageId::of(b"x");
    let too_long = [
        Content::Edit { target, text: "x".repeat(MAX_TEXT_LEN + 1) },
        Content::React { target, sign, reaction: Reaction::Add },
        Content::Room(Act::Create { name: "x".repeat(MAX_ROOM_NAME_LEN + 1) }),
        Content::Room(Act::Topic("x".repeat(MAX_TOPIC_LEN + 1))),
    ];
    for content in too_long {
        assert!(matches!(parse(&content), Err(MessageError::TooLong { .. })), "{content:?}");
    }
    let mentions = |mentions: Vec<PeerId>| Content::Text(Text { mentions, ..Text::default() });
    let (a, b) = if peer(1) < peer(2) { (peer(1), peer(2)) } else { (peer(2), peer(1)) };
    assert!(parse(&mentions(vec![a, b])).is_ok());
    for content in [
        mentions(vec![b, a]),
        mentions(vec![a, a]),
        mentions(vec![a; MAX_MENTIONS + 1]),
        Content::Room(Act::Create { name: String::new() }),
        Content::React { target, sign: String::new(), reaction: Reaction::Add },
    ] {
        assert_eq!(parse(&content), Err(MessageError::Body), "{content:?}");
    }
}
