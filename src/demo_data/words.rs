//! What the sample is made of.

/// Given names.
pub(super) const GIVEN: &[&str] = &[
    "Ada", "Bram", "Carla", "Dario", "Elif", "Finn", "Greta", "Hanno", "Ines", "Jonas", "Kaia", "Lars", "Mira", "Nils",
    "Oona", "Pavel", "Rosa", "Sami", "Tilda", "Ugo", "Vera", "Wim", "Yara", "Zoltan",
];
/// Family names.
pub(super) const FAMILY: &[&str] = &[
    "Aldous", "Berg", "Castell", "Dahl", "Eklund", "Ferrer", "Gruber", "Hollis", "Iversen", "Jansen", "Kovacs", "Lind",
    "Moreau", "Novak", "Okafor", "Petrov", "Quist", "Rossi", "Sandoval", "Tanaka", "Ullman", "Visser", "Weber",
];
/// Towns with their countries.
pub(super) const TOWNS: &[(&str, &str)] = &[
    ("Ghent", "Belgium"),
    ("Aarhus", "Denmark"),
    ("Lyon", "France"),
    ("Freiburg", "Germany"),
    ("Bologna", "Italy"),
    ("Utrecht", "Netherlands"),
    ("Bergen", "Norway"),
    ("Krakow", "Poland"),
    ("Girona", "Spain"),
    ("Malmö", "Sweden"),
    ("Basel", "Switzerland"),
    ("Graz", "Austria"),
];
/// Suppliers and what they make.
pub(super) const SUPPLIERS: &[(&str, &str)] = &[
    ("Larkspur Tents", "Tents and tarpaulins from recycled nylon"),
    ("Kestrel Bags", "Panniers and backpacks, sewn in Portugal"),
    ("Ember Stoves", "Stoves and cookware for small kitchens"),
    ("Hollow Down", "Sleeping bags with traceable down"),
    ("Drift Mats", "Sleeping mats and pillows"),
    ("Beacon Lights", "Lights and dynamos for bicycles"),
    ("Moor Cycles", "Steel frames for touring and gravel"),
    ("Tern Rainwear", "Waterproof jackets, trousers and overshoes"),
    ("Anvil Tools", "Tools for home and workshop"),
    ("Halo Helmets", "Helmets for adults and children"),
    ("Brook Bottles", "Bottles, filters and cups"),
    ("Pace Tyres", "Tyres and tubes for every ground"),
];

/// A kind of product: supplier (from 1), category, name, price in cents, text.
pub(super) type Kind = (i64, &'static str, &'static str, i64, &'static str);

/// Kinds of products.
pub(super) const KINDS: &[Kind] = &[
    (
        1,
        "tents",
        "Larkspur 2",
        32_900,
        "Light and waterproof two-person tent with two doors. Stands without pegs, 2.1 kg, fly sheet with 3,000 mm.",
    ),
    (
        1,
        "tents",
        "Heron Tunnel 3",
        41_900,
        "Roomy tunnel tent for three with a large apse for panniers. Taped seams, 2.9 kg.",
    ),
    (
        1,
        "tents",
        "Wren Solo",
        24_900,
        "Tent for one person who counts every gram: 1.2 kg, packs as small as a loaf of bread.",
    ),
    (1, "tents", "Ptarmigan 2", 58_900, "Storm-proof dome for two, made for snow and wind in all four seasons."),
    (1, "tents", "Family Barn 5", 54_900, "Family tent to stand up in, with two dark bedrooms and a porch."),
    (4, "sleeping bags", "Hollow Summer", 14_900, "Down sleeping bag for summer nights down to 8 degrees. 620 grams."),
    (
        4,
        "sleeping bags",
        "Hollow Winter",
        38_900,
        "Warm sleeping bag for winter camping: comfort at minus 11 degrees, with draught collar and hood.",
    ),
    (
        4,
        "sleeping bags",
        "Hollow Synthetic",
        11_900,
        "Synthetic filling that warms even when damp and dries overnight.",
    ),
    (
        5,
        "sleeping mats",
        "Drift Air",
        12_900,
        "Inflatable mat with an R-value of 4.2, six centimetres thick and quiet to turn over on.",
    ),
    (5, "sleeping mats", "Drift Foam", 3_900, "Folding foam mat that never goes flat. Doubles as a seat."),
    (
        3,
        "stoves",
        "Ember Gas",
        6_900,
        "Gas stove that boils half a litre in three minutes, with piezo lighter and wide pot supports.",
    ),
    (3, "stoves", "Ember Spirit", 4_500, "Silent spirit stove with wind shield. Nothing in it can break."),
    (
        3,
        "cookware",
        "Ember Pot Set",
        5_900,
        "Two pots and a pan of hard anodised aluminium that nest around a cartridge.",
    ),
    (
        2,
        "panniers",
        "Kestrel Rear Pannier",
        7_900,
        "Waterproof pannier of 20 litres with roll closure and hooks that do not rattle.",
    ),
    (2, "panniers", "Kestrel Bar Bag", 6_400, "Bar bag with map case, opens with one hand."),
    (
        2,
        "backpacks",
        "Kestrel Trail 45",
        15_900,
        "Backpack of 45 litres for long walks, with an adjustable back and a rain cover.",
    ),
    (
        7,
        "bicycles",
        "Fenwick Tourer",
        169_900,
        "Steel touring bicycle with hub dynamo, carriers for four panniers and 27 low gears.",
    ),
    (
        7,
        "bicycles",
        "Moor Gravel",
        189_900,
        "Gravel bicycle with wide tyres and a light steel frame for fast days off the road.",
    ),
    (7, "bicycles", "Moor City E", 279_900, "Electric city bicycle with belt drive and a range of 90 kilometres."),
    (
        6,
        "lights",
        "Beacon 60 Front Light",
        5_900,
        "Front light with 60 lux and a beam that does not dazzle. For hub dynamos.",
    ),
    (6, "lights", "Beacon Rear Light", 2_900, "Rear light with brake signal, charges by USB in two hours."),
    (
        8,
        "rainwear",
        "Tern Storm Jacket",
        19_900,
        "Waterproof jacket for cycling with a long back, pit zips and a hood that fits over a helmet.",
    ),
    (
        8,
        "rainwear",
        "Tern Rain Trousers",
        9_900,
        "Rain trousers that open along the whole leg, so that shoes can stay on.",
    ),
    (
        9,
        "tools",
        "Anvil Multi-tool",
        3_400,
        "Eighteen tools, chain rivet and spoke key among them, in a case the size of a match box.",
    ),
    (9, "tools", "Anvil Floor Pump", 4_900, "Floor pump with a gauge that one can read standing up."),
    (10, "helmets", "Halo City Helmet", 8_900, "Helmet with a rear light, a magnetic buckle and good air."),
    (10, "helmets", "Halo Child Helmet", 4_900, "Light helmet for children from two years, with insect net."),
    (11, "bottles", "Brook Filter Bottle", 4_400, "Bottle with a filter that makes water from streams safe to drink."),
    (12, "tyres", "Pace Touring Tyre", 3_900, "Touring tyre with a puncture belt and reflecting sides."),
    (12, "tyres", "Pace Ice Studs", 6_900, "Winter tyre with 240 studs that holds on ice."),
];
/// Variants that a kind of product comes in.
pub(super) const VARIANTS: &[&str] = &["moss green", "slate grey", "rust red", "night blue", "sand"];

/// Subject and text of support tickets; `{}` is the product.
pub(super) const TICKETS: &[(&str, &str)] = &[
    (
        "Zip of the tent is broken",
        "The zip on my {} no longer closes on one side. Can you send a new slider, or shall I bring it in?",
    ),
    ("Parcel has not arrived", "The {} should have been here last week. The tracking has not changed for five days."),
    ("Wrong colour delivered", "I ordered the {} in another colour. I would like to change it before our holiday."),
    ("How do I return this?", "The {} does not fit. I have not used it and the tags are still on."),
    (
        "Water comes in at the seams",
        "After one night of rain the {} was wet inside, right below the seam. Is this covered by the warranty?",
    ),
    ("Spare part wanted", "I lost a small part of my {} on tour. Which spare part do I need, and do you have it?"),
    ("Invoice needed", "Please send an invoice with the name of my company for the {}."),
    ("Question about size", "I am 1.86 m tall. Would the {} fit me, or do you have something longer?"),
    ("Strange noise", "Since the last service there is a clicking noise from the {} whenever I start."),
    ("Praise for the workshop", "Your mechanic repaired my {} within a day, just before we left. Thank you!"),
];

/// Stars, title and text of reviews; `{}` is the product.
pub(super) const REVIEWS: &[(i64, &str, &str)] = &[
    (
        5,
        "Stayed dry for three weeks",
        "We took the {} along the coast of Norway. Rain every day and not one drop inside.",
    ),
    (5, "Exactly what I hoped for", "The {} does what it promises and nothing more. That is meant as praise."),
    (4, "Very good, a little heavy", "I like the {} a lot, but on steep climbs I wished that it were lighter."),
    (4, "Good after some time", "It took me a few tours to get used to the {}, now I would not give it away."),
    (3, "Fine for the price", "For a weekend the {} is all right. For more I would spend more."),
    (2, "Not for tall people", "The {} is well made, but I am 1.95 m and it is too short for me."),
    (
        1,
        "Broke on the second day",
        "The {} broke on the second day of our tour. The service was friendly, the holiday was not.",
    ),
];
