//! Turns a conversation into ids that spell it, and back: for models whose own ids nobody here knows.
//!
//! An id is a role mark, the end of a turn, or up to three bytes of text; each word, with the space after it, begins an id of
//! its own. As a count of tokens that is more than nearly every tokenizer makes of the same text.
//!
//! # Invariants
//! Ids and conversation are each other's exact picture, and no text looks like a mark. No vocabulary is stored.

use super::{GenReply, Message, Role, TokenId, TrainRow};

/// The end of a turn.
pub const END: TokenId = 0;
const ROLES: [(Role, TokenId); 4] = [(Role::System, 1), (Role::User, 2), (Role::Assistant, 3), (Role::Tool, 4)];
/// Bytes of text in one id; the count of them stands above them.
const BYTES: usize = 3;

/// Up to where the assistant is to speak.
pub fn chat(messages: &[Message]) -> Vec<TokenId> {
    let mut ids = Vec::new();
    messages.iter().for_each(|message| turn(message, &mut ids));
    ids.push(mark(Role::Assistant));
    ids
}

/// What follows on a reply so that the conversation goes on with `next`.
pub fn continued(reply: &[TokenId], next: &[Message]) -> Vec<TokenId> {
    let closed = reply.last() == Some(&END);
    (!closed).then_some(END).into_iter().chain(chat(next)).collect()
}

/// A whole conversation, of which the assistant's turns are learned.
pub fn row(messages: &[Message]) -> TrainRow {
    let mut row = TrainRow { tokens: Vec::new(), learn: Vec::new() };
    for message in messages {
        turn(message, &mut row.tokens);
        row.learn.push(false);
        row.learn.resize(row.tokens.len(), message.role == Role::Assistant);
    }
    row
}

/// The turns that ids spell; one that only begins is none.
pub fn messages(ids: &[TokenId]) -> Vec<Message> {
    let turns = ids.split_inclusive(|id| *id == END).filter(|turn| turn.last() == Some(&END));
    let message = |turn: &[TokenId]| {
        let role = ROLES.iter().find(|(_, id)| turn.first() == Some(id))?.0;
        Some(Message::new(role, decode(&turn[1..])))
    };
    turns.filter_map(message).collect()
}

pub fn encode(text: &str) -> Vec<TokenId> {
    let words = text.split_inclusive(|c: char| c.is_whitespace());
    let id = |bytes: &[u8]| {
        let packed = bytes.iter().fold(0, |packed, byte| packed << 8 | TokenId::from(*byte));
        (bytes.len() as TokenId) << 24 | packed
    };
    words.flat_map(|word| word.as_bytes().chunks(BYTES)).map(id).collect()
}

/// The text of ids; marks have none. A character that the last id cuts in two is replaced.
pub fn decode(ids: &[TokenId]) -> String {
    let mut bytes = Vec::with_capacity(ids.len() * BYTES);
    for id in ids {
        let count = (id >> 24) as usize;
        bytes.extend_from_slice(&id.to_be_bytes()[4 - count.min(BYTES)..]);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// What each id of a reply adds to its text: whole characters only, so that nothing of it is ever taken back.
pub fn pieces(reply: &GenReply) -> Vec<String> {
    let (mut said, mut end) = (0, 0);
    let piece = |id: &TokenId| {
        end += (id >> 24) as usize;
        let whole = (said..=end).rev().find(|at| reply.text.is_char_boundary(*at)).unwrap_or(said);
        reply.text[std::mem::replace(&mut said, whole)..whole].to_owned()
    };
    reply.tokens.iter().map(piece).collect()
}

pub fn mark(role: Role) -> TokenId {
    ROLES.iter().find(|(known, _)| *known == role).map_or(END, |(_, id)| *id)
}

fn turn(message: &Message, ids: &mut Vec<TokenId>) {
    ids.push(mark(message.role));
    ids.extend(encode(&message.content));
    ids.push(END);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn conversation() -> impl Strategy<Value = Vec<Message>> {
        let role = prop::sample::select(ROLES.map(|(role, _)| role).to_vec());
        prop::collection::vec((role, any::<String>()), 0..6)
            .prop_map(|turns| turns.into_iter().map(|(role, text)| Message::new(role, text)).collect())
    }

    proptest! {
        #[test]
        fn a_conversation_comes_back_as_it_was(told in conversation(), reply: String, next in conversation()) {
            let mut ids = chat(&told);
            prop_assert_eq!(&messages(&ids), &told);
            let said = encode(&reply);
            prop_assert_eq!(&decode(&said), &reply);
            ids.extend(&said);
            ids.extend(continued(&said, &next));
            let whole = [told, vec![Message::new(Role::Assistant, reply)], next].concat();
            prop_assert_eq!(messages(&ids), whole);
        }
    }
}
