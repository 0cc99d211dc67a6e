//! Level 3: who works where, likes what, earns how much; coordinates, weather and clothes.
//!
//! The original keeps these tables in its classes. Here they are what its recorded calls answered: between them they asked for
//! every row but some hotel rooms, which follow from the others.

use super::check::{self, Pair, Verdict};
use super::health::items;
use super::{Call, Fault, Output, Raised, Tool, no_key, success};
use crate::env::api_bank::dialogues::Sample;
use crate::env::api_bank::text::SECOND;
use crate::env::api_bank::value::{Dict, Value};
use std::collections::BTreeMap;
use std::sync::Arc;

pub const TOOLS: &[Tool] = &[
    Tool::new("AccountInfo", account, check::named_exact),
    Tool::new("PersonalInfoUpdate", update, update_check),
    Tool::new("AddMeeting", add_meeting, super::meetings::check),
    Tool::new("QueryMeeting", meetings, check::named_exact),
    Tool::new("EmailReminder", reminder, reminder_check),
    Tool::new("ClothingRecommendation", clothes, check::named_exact),
    Tool::new("Geocoding", coordinates, check::named_exact),
    Tool::new("GetWeatherForCoordinates", weather, check::exact),
    Tool::new("NearbyRestaurants", restaurants, restaurants_check),
    Tool::new("GetOccupationSalary", salary, check::named_exact),
    Tool::new("TaxCalculator", tax, tax_check),
    Tool::new("LikeCount", likes, check::named_exact),
    Tool::new("UserPosts", posts, check::named_exact),
    Tool::new("OrganizationMembers", members, check::named_exact),
    Tool::new("TravelStatus", travel, check::named_exact),
    Tool::new("UserMoviePreferences", preferences, check::named_exact),
    Tool::new("UserWatchedMovies", watched, check::named_exact),
    Tool::new("MovieRecommendations", movies, check::named_exact),
];

/// What the recorded calls of level 3 tell.
#[derive(Debug, Default)]
pub struct Facts {
    /// By tool: arguments and output.
    asked: BTreeMap<Arc<str>, Vec<(Dict, Value)>>,
    /// The films of a genre.
    genres: BTreeMap<String, Vec<Value>>,
    restaurants: Option<Value>,
    pub flights: Vec<Value>,
    /// Rooms for a night.
    pub rooms: Vec<Value>,
}

impl Facts {
    pub fn new(samples: &[Sample]) -> Self {
        let mut facts = Self::default();
        for call in samples.iter().flat_map(|sample| &sample.calls) {
            let Some(output) = call.result.get("output").filter(|output| !output.is_none()) else { continue };
            let rows = |name: &str| output.get(name).and_then(Value::as_list).unwrap_or_default();
            match call.name.as_ref() {
                "FlightSearch" => extend(&mut facts.flights, rows("flights")),
                "HotelAvailability" => extend(&mut facts.rooms, rows("hotels")),
                "NearbyRestaurants" => facts.restaurants = Some(with_tuples(output)),
                "MovieRecommendations" => {
                    let genres = call.arguments.get("preferences").and_then(Value::as_list).unwrap_or_default();
                    let films = rows("recommended_movies");
                    let each = films.chunks((films.len() / genres.len().max(1)).max(1));
                    facts.genres.extend(genres.iter().map(Value::display).zip(each.map(<[_]>::to_vec)));
                }
                _ => facts.asked.entry(call.name.clone()).or_default().push((call.arguments.clone(), output.clone())),
            }
        }
        let others = unfound_rooms(&facts.rooms, samples);
        extend(&mut facts.rooms, &others);
        facts
    }

    fn find(&self, tool: &str, fits: impl Fn(&Dict) -> bool) -> Option<&Value> {
        self.asked.get(tool)?.iter().find(|(arguments, _)| fits(arguments)).map(|(_, output)| output)
    }
}

/// Rooms that no recorded call found. The original has one wherever there is any, for each night that any call asked about.
fn unfound_rooms(rooms: &[Value], samples: &[Sample]) -> Vec<Value> {
    let calls = samples.iter().flat_map(|sample| &sample.calls);
    let nights = calls.filter(|call| call.name.as_ref() == "HotelAvailability").map(|call| &call.arguments);
    let night = |of: &Dict| Some([of.get("check_in_date")?.clone(), of.get("check_out_date")?.clone()]);
    let nights: Vec<[Value; 2]> = nights.filter_map(night).collect();
    let places: Vec<&Value> = rooms.iter().filter_map(|room| room.get("destination")).collect();
    let room = |place: &Value, [from, to]: &[Value; 2]| {
        let fields = [("destination", place), ("check_in_date", from), ("check_out_date", to)];
        Value::dict(fields.map(|(name, value)| (name, value.clone())))
    };
    places.iter().flat_map(|place| nights.iter().map(|night| room(place, night))).collect()
}

fn extend(all: &mut Vec<Value>, rows: &[Value]) {
    for row in rows {
        if !all.contains(row) {
            all.push(row.clone());
        }
    }
}

/// Coordinates are tuples: they look like lists only in the file.
fn with_tuples(output: &Value) -> Value {
    let mut output = output.clone();
    if let Some(Value::List(rows)) = super::fields(&mut output).get_mut("restaurants") {
        for row in Arc::make_mut(rows) {
            if let Some(place) = super::fields(row).get_mut("coordinates")
                && let Value::List(items) = place
            {
                *place = Value::Tuple(items.clone());
            }
        }
    }
    output
}

/// What was answered to the same argument.
fn known(call: &Call, tool: &str, argument: &str) -> Option<Value> {
    let given = call.arg(argument);
    call.world.library().facts.find(tool, |asked| asked.get(argument) == Some(&given)).cloned()
}

fn by_key(call: &Call, tool: &str, argument: &str) -> Output {
    known(call, tool, argument).ok_or_else(|| no_key(&call.arg(argument)))
}

/// As `in` a dictionary asks first: what cannot be a key is an error of its own.
fn by_key_or(call: &Call, tool: &str, argument: &str, message: String) -> Output {
    match call.arg(argument) {
        given @ (Value::List(_) | Value::Dict(_)) => Err(no_key(&given)),
        _ => known(call, tool, argument).ok_or(Fault::Told(message)),
    }
}

fn owner(call: &Call) -> Output {
    let (name, password) = (call.arg("username"), call.arg("password"));
    let same = |asked: &Dict| asked.get("username") == Some(&name) && asked.get("password") == Some(&password);
    call.world.library().facts.find("AccountInfo", same).cloned().ok_or_else(|| "User not found.".into())
}

fn account(call: &mut Call) -> Output {
    owner(call)
}

/// The address goes to a copy of the table that nothing reads.
fn update(call: &mut Call) -> Output {
    owner(call).map(|_| Value::dict([("status", Value::str("success"))]))
}

/// Kept in a list that nothing reads.
fn add_meeting(call: &mut Call) -> Output {
    call.moment("start_time", SECOND)?;
    call.moment("end_time", SECOND)?;
    if call.stripped("meeting_topic")?.is_empty() {
        return Err("Meeting Topic should not be null".into());
    }
    success()
}

fn meetings(call: &mut Call) -> Output {
    by_key(call, "QueryMeeting", "user_name")
}

fn reminder(call: &mut Call) -> Output {
    call.moment("time", SECOND)?;
    if call.stripped("content")?.is_empty() {
        return Err("Content should not be empty".into());
    }
    success()
}

fn clothes(call: &mut Call) -> Output {
    let number = |name: &str| call.arg(name).number().unwrap_or(f64::NAN);
    let (temperature, humidity) = (number("temperature"), number("humidity"));
    let mut found: Vec<&str> = Vec::new();
    if temperature < 10.0 {
        found.extend(["Warm coat", "Hat", "Gloves"]);
    }
    if (10.0..20.0).contains(&temperature) {
        found.extend(["Light jacket", "Long-sleeved shirt"]);
    }
    if (20.0..30.0).contains(&temperature) {
        found.extend(["T-shirt", "Shorts"]);
    }
    if temperature >= 30.0 {
        found.extend(["Sun hat", "Sunglasses", "Loose-fitting clothes"]);
    }
    if humidity > 70.0 {
        found.extend(["Umbrella", "Waterproof shoes"]);
    }
    if call.text("weather_conditions", "lower")?.to_lowercase().contains("rain") {
        found.push("Raincoat");
    }
    Ok(Value::dict([("clothing_options", Value::list(found.into_iter().map(Value::str).collect()))]))
}

fn coordinates(call: &mut Call) -> Output {
    by_key(call, "Geocoding", "address")
}

/// The recorded arguments are texts; unknown coordinates are an error that leaves the tool.
fn weather(call: &mut Call) -> Output {
    let here = ["latitude", "longitude"].map(|name| call.arg(name).number());
    let there = |asked: &Dict, name: &str| asked.get(name).and_then(|it| it.display().parse::<f64>().ok());
    let same = |asked: &Dict| here == ["latitude", "longitude"].map(|name| there(asked, name));
    call.world
        .library()
        .facts
        .find("GetWeatherForCoordinates", same)
        .cloned()
        .ok_or_else(|| Fault::Escapes(Raised::new("TypeError", "'NoneType' object is not subscriptable")))
}

/// All there are, wherever.
fn restaurants(call: &mut Call) -> Output {
    Ok(call.world.library().facts.restaurants.clone().unwrap_or(Value::None))
}

fn salary(call: &mut Call) -> Output {
    let message = "The occupation is not in the database.".to_owned();
    by_key_or(call, "GetOccupationSalary", "occupation", message)
}

/// The whole salary at the rate of its bracket. Below nothing the original finds no bracket, and says nothing.
fn tax(call: &mut Call) -> Output {
    let salary = call.arg("salary").number().unwrap_or(f64::NAN);
    let brackets = [(f64::INFINITY, 0.4), (5000.0, 0.3), (3000.0, 0.2), (1000.0, 0.1), (0.0, 0.0)];
    let (_, rate) = brackets.into_iter().find(|(from, _)| salary >= *from).ok_or("")?;
    Ok(Value::dict([("salary_after_tax", Value::Float(salary - salary * rate))]))
}

fn likes(call: &mut Call) -> Output {
    let message = format!("Post with ID {} does not exist.", call.arg("post_id").display());
    by_key_or(call, "LikeCount", "post_id", message)
}

fn posts(call: &mut Call) -> Output {
    by_key(call, "UserPosts", "user_id")
}

fn members(call: &mut Call) -> Output {
    by_key(call, "OrganizationMembers", "organization")
}

fn travel(call: &mut Call) -> Output {
    by_key(call, "TravelStatus", "member_name")
}

fn preferences(call: &mut Call) -> Output {
    by_key(call, "UserMoviePreferences", "user_name")
}

fn watched(call: &mut Call) -> Output {
    by_key_or(call, "UserWatchedMovies", "user_name", "User not found.".to_owned())
}

fn movies(call: &mut Call) -> Output {
    let mut found = Vec::new();
    for genre in items(&call.arg("preferences"))? {
        let films = genre.as_str().and_then(|genre| call.world.library().facts.genres.get(genre));
        found.extend_from_slice(films.ok_or_else(|| no_key(&genre))?);
        if found.len() > MOST_FILMS {
            return Err("too many preferences".into());
        }
    }
    Ok(Value::dict([("recommended_movies", Value::list(found))]))
}

/// A million preferences would be answered three times as long.
const MOST_FILMS: usize = 100_000;

fn update_check(pair: &Pair) -> Verdict {
    pair.same_name()?;
    Ok(pair.same("input")? && pair.same("output")?)
}

fn reminder_check(pair: &Pair) -> Verdict {
    pair.same_name()?;
    Ok(pair.rest_of_input("content")? && pair.result()?)
}

fn restaurants_check(pair: &Pair) -> Verdict {
    pair.same_name()?;
    pair.same("input")
}

fn tax_check(pair: &Pair) -> Verdict {
    pair.same_name()?;
    Ok(pair.same_input("salary")? && same_part(pair, "salary_after_tax")? && pair.same("exception")?)
}

/// A part of the output on both sides.
pub fn same_part(pair: &Pair, name: &str) -> Verdict {
    let [a, b] = pair.both("output")?;
    match (a.get(name), b.get(name)) {
        (Some(a), Some(b)) => Ok(a == b),
        _ => Err(Raised::new("TypeError", "'NoneType' object is not subscriptable")),
    }
}
