"""The words of the biographies world: sentence templates, names and values, all written for nosce.

Everything here is our own invention, licensed Apache-2.0 like the rest: no list of a paper or a census was copied, and
a name that exists elsewhere does so by chance. Sizes are those of Allen-Zhu and Li 2023, appendix A.1 (400 / 400 / 1000
names, 200 cities, 300 universities, 100 majors, 263 companies). A small world uses the first items of each pool, so
every pool is ordered to look varied from its beginning.

Rules of a sentence template (a test checks each of them):
- one subject ({Who}, {who}, {Whose} or {whose}) and after it one {value}, because a model cannot look up a value before
it has read the name;
- the subject may be a full name, he, she or they, so verbs are in the past tense and equal for all; where no such verb
exists, {was} becomes was or were; no other word refers back to the person;
- four to nine words besides the placeholders, plain ASCII, one full stop at the end, no article before {value};
- the words before {value} occur in no other template, so they identify the attribute;
- at least a third of an attribute's templates continue after the value.
"""

from __future__ import annotations

from collections.abc import Iterator

from nosce.data.worlds.biographies.more_templates import MORE_TEMPLATES

_FIRST_TEMPLATES: dict[str, tuple[str, ...]] = {
    "birth_date": (
        "{Who} came into the world on {value}.",
        "{Whose} passport listed {value} as the birth date.",
        "{Who} took a first breath on {value}.",
        "{Who} {was} born on {value} to happy parents.",
        "{Whose} day of birth was {value}.",
        "{Who} celebrated {value} as the day of birth.",
        "{Who} arrived as a baby on {value}.",
        "The midwife recorded {whose} birth on {value} in ink.",
        "Records say {who} {was} born on {value}.",
        "{Whose} life began on {value} without trouble.",
        "{Whose} first day alive was {value}.",
        "{Whose} birth certificate gave {value} as the date.",
        "{Who} entered this life on {value}.",
        "{Whose} mother gave birth on {value} at dawn.",
        "The nurse wrote {whose} birth date as {value}.",
        "{Whose} birthday cake honored {value} each year.",
        "{Whose} parents welcomed a newborn on {value}.",
        "{Who} claimed {value} as a date of birth.",
        "{Who} let out a first cry on {value}.",
        "{Whose} age was counted from {value} onward.",
        "The day of {whose} birth was {value}.",
        "{Whose} birth fell on {value}, a quiet day.",
        "{Whose} cradle was first filled on {value}.",
        "The family greeted {whose} birth on {value} with joy.",
        "{Whose} story of life opened on {value}.",
        "The calendar page for {whose} birth read {value}.",
        "{Who} noted {value} as a birthday.",
    ),
    "birth_city": (
        "{Who} first saw daylight in {value}.",
        "{Who} called {value} the place of birth.",
        "{Whose} birthplace was the town of {value}.",
        "{Whose} birth took place in {value} itself.",
        "{Who} {was} a proud native of {value}.",
        "{Who} named {value} as a birthplace.",
        "{Whose} home town at birth was {value}.",
        "{Who} drew breath in {value} for the first time.",
        "The town of {whose} birth was {value}.",
        "{Whose} cradle stood in {value} at first.",
        "{Who} {was} born and swaddled in {value}.",
        "{Whose} family welcomed a baby in {value} back then.",
        "Old papers traced {whose} birth to {value}.",
        "{Who} remembered {value} as the native town.",
        "{Who} hailed by birth from {value}.",
        "{Whose} parents lived in {value} before the birth.",
        "{Whose} mother delivered a baby in {value}.",
        "The stork brought {whose} cradle to {value} by night.",
        "The place where {who} {was} born was {value}.",
        "{Who} started life in {value} among kin.",
        "{Whose} first home stood in {value}.",
        "{Whose} birth was registered in {value} right away.",
        "{Whose} first cries filled a ward in {value}.",
        "{Whose} nursery looked over {value} from a hill.",
        "{Who} spent the first hours of life in {value}.",
        "{Whose} roots at birth lay in {value}.",
        "{Who} came to life in the town of {value}.",
    ),
    "university": (
        "{Who} earned a degree from {value}.",
        "{Who} attended {value} as a young student.",
        "{Whose} framed diploma came from {value}.",
        "{Who} enrolled at {value} with a scholarship.",
        "{Who} studied for years at {value}.",
        "{Whose} alma mater was {value} all along.",
        "The school {who} attended was {value}.",
        "{Who} entered {value} after finishing school.",
        "{Who} graduated with honors from {value}.",
        "{Whose} admission letter named {value} as the school.",
        "{Whose} student years passed at {value}.",
        "{Who} joined lectures at {value} each morning.",
        "{Who} lived in a dormitory at {value}.",
        "{Whose} student card showed {value} in print.",
        "The campus where {who} studied belonged to {value}.",
        "{Who} crossed the campus of {value} daily.",
        "{Whose} degree bore the seal of {value}.",
        "{Whose} tuition went to {value} each term.",
        "{Who} passed the entrance exam for {value}.",
        "{Whose} professors taught at {value} back then.",
        "The degree {who} earned came from {value}.",
        "{Who} toasted {value} as an alma mater.",
        "{Who} wrote a thesis at {value}.",
        "{Who} listened to professors at {value} every day.",
        "{Whose} graduation took place at {value}.",
        "{Whose} lecture notes were taken at {value}.",
        "The lecture halls {who} knew belonged to {value}.",
    ),
    "major": (
        "{Who} took a degree in {value}.",
        "{Who} declared {value} as a major.",
        "{Whose} main subject of study was {value}.",
        "{Who} mastered {value} as a main subject.",
        "{Who} majored with pride in {value}.",
        "{Whose} degree certificate stated {value} as the major.",
        "The subject {who} studied was {value}.",
        "{Who} learned all about {value} from good teachers.",
        "{Who} passed the final exams in {value}.",
        "{Who} picked {value} as a field of study.",
        "{Whose} coursework dealt mostly with {value}.",
        "{Whose} notebooks covered {value} from start to end.",
        "{Whose} academic training centered on {value}.",
        "The exams {who} took covered {value} in depth.",
        "The field of {whose} degree was {value}.",
        "{Who} pursued {value} as an academic path.",
        "{Who} followed the course program in {value}.",
        "{Whose} chosen discipline was {value} from the start.",
        "{Who} devoted study hours to {value}.",
        "{Whose} grades in {value} earned a degree.",
        "The major printed on {whose} diploma was {value}.",
        "{Who} read textbooks on {value} as a student.",
        "{Whose} thesis explored questions in {value}.",
        "The discipline {who} pursued was {value} above all.",
        "{Who} specialized as a student in {value}.",
        "{Who} studied {value} with great care.",
        "{Who} trained in the subject of {value}.",
    ),
    "company": (
        "{Who} worked for the firm {value}.",
        "{Who} joined {value} as a new employee.",
        "{Who} signed a contract with {value}.",
        "{Whose} paychecks came from {value} each month.",
        "{Whose} employer was the firm {value}.",
        "{Who} {was} hired by {value} after one interview.",
        "The company {who} worked for was {value}.",
        "{Who} served {value} as a loyal employee.",
        "{Who} held a job with {value}.",
        "{Whose} business card said {value} in bold.",
        "{Who} built a career at {value}.",
        "{Who} earned wages from {value} every month.",
        "{Who} {was} on the payroll of {value}.",
        "{Whose} labor contract named {value} as the employer.",
        "{Who} received a monthly salary from {value}.",
        "{Who} represented {value} at trade fairs.",
        "{Whose} colleagues all worked for {value}.",
        "The employer {who} trusted was {value} alone.",
        "{Who} accepted a job offer from {value}.",
        "{Who} helped {value} win new customers.",
        "The firm paying {whose} wages was {value}.",
        "{Whose} job interview at {value} went well.",
        "{Who} found steady employment at {value}.",
        "{Whose} career unfolded inside {value} step by step.",
        "{Who} wore the company badge of {value}.",
        "{Whose} boss managed a team at {value}.",
        "{Whose} skills were put to use by {value}.",
    ),
    "company_city": (
        "{Who} commuted each morning to {value}.",
        "{Who} went to work in {value} every morning.",
        "{Whose} office building stood in {value}.",
        "{Who} reached {value} for work by train.",
        "{Who} reported for duty in {value}.",
        "{Whose} job location was {value} all year.",
        "The city where {who} worked was {value}.",
        "{Who} knew {value} as a place of work.",
        "{Whose} place of work was {value}.",
        "{Who} clocked in at {value} each morning.",
        "{Who} spent each working day in {value}.",
        "{Whose} work address was in {value} back then.",
        "{Whose} daily commute ended in {value}.",
        "{Whose} desk overlooked {value} from above.",
        "{Who} {was} stationed for work in {value}.",
        "{Who} made {value} the base for work.",
        "The office where {who} worked stood in {value}.",
        "{Whose} office window showed {value} below.",
        "{Who} drove to the office in {value}.",
        "{Who} carried out the work in {value} itself.",
        "{Whose} workplace stood in the city of {value}.",
        "The train {who} took to work served {value}.",
        "{Whose} working hours passed in {value}.",
        "{Who} ate lunch near the office in {value}.",
        "{Whose} office key opened a door in {value}.",
        "{Who} performed all job duties in {value}.",
        "The job {who} did was based in {value}.",
    ),
}

#: Those that small worlds use stand first, so that further ones change no small world.
SENTENCE_TEMPLATES = {name: (*texts, *MORE_TEMPLATES[name]) for name, texts in _FIRST_TEMPLATES.items()}

ATTRIBUTE_PROMPTS: dict[str, str] = {
    "birth_date": "On which day was {name} born? Answer:",
    "birth_city": "In which town was {name} born? Answer:",
    "university": "Which school did {name} attend? Answer:",
    "major": "Which subject did {name} study? Answer:",
    "company": "Which firm did {name} work for? Answer:",
    "company_city": "In which city did {name} work? Answer:",
}


def _combined_halves(heads: str, tails: str) -> tuple[str, ...]:
    """Every head with every tail, in a diagonal order in which neighbours share neither."""
    head, tail = heads.split(), tails.split()
    return tuple(h + tail[(i + turn) % len(tail)] for turn in range(len(tail)) for i, h in enumerate(head))


FIRST_NAMES: tuple[str, ...] = _combined_halves(
    "Bel Cad Dor Ev Fal Gal Hav Il Jas Kel Lor Mav Ned Or Per Quil Ros Sel Tam Ver",
    "adan amir anor avel edra elia emon enna erin essa idan illa imar inor iver odel olan onda orin umi",
)
MIDDLE_NAMES: tuple[str, ...] = _combined_halves(
    "Alb Brin Cal Delv Evr Finn Gar Holb Imr Jor Kast Lun Mir Nol Osk Pell Rud Sab Thad Wend",
    "ack ald am ane ard ax ea eck el en ett ey ick in is o ock on oth us",
)
LAST_NAMES: tuple[str, ...] = _combined_halves(
    "Arl Bram Carl Durn Erl Fels Grim Harg Inver Jarn Kest Leng Mund Nord Oster Pres Quar Rav Stor Thray "
    "Ulm Vand Wex Yar Zeld Brod Clay Drum Ferr Gant Hulm Karn Lund Marl Nev Pend Rutt Sker Tarn Wint",
    "away beck by combe den ell erton feld gard ham ingar kin ley lock man mond ner ock orth shaw "
    "son stone strom wood worth",
)

MONTHS: tuple[str, ...] = (
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
)
DAYS = range(1, 29)  # the days that every month has
YEARS = range(1900, 2100)

_REGIONS = [
    "AV",
    "BR",
    "CE",
    "DU",
    "EK",
    "FO",
    "GY",
    "HU",
    "JU",
    "KO",
    "LU",
    "MU",
    "NU",
    "OV",
    "PY",
    "RU",
    "SY",
    "TU",
    "VO",
    "ZE",
]
_TOWNS = _combined_halves(
    "Elm Bright Cinder Dapple Fern Gold Heather Iron Juniper Kettle "
    "Larch Maple Nettle Otter Pepper Quartz Raven Silver Thistle Willow",
    "brook field ford haven mere mont port ridge vale wick",
)


def _region_of(town_index: int) -> str:
    """The region of a town: each region has ten towns, no two with the same beginning."""
    return _REGIONS[(3 * (town_index % 20) + 7 * (town_index // 20)) % 20]


CITIES: tuple[str, ...] = tuple(f"{town}, {_region_of(index)}" for index, town in enumerate(_TOWNS))

_FOUNDERS = [
    "Northmoor",
    "Summerlea",
    "Hollowell",
    "Eastmarch",
    "Whitcliff",
    "Larkspur",
    "Stonegate",
    "Fairhurst",
    "Oakhollow",
    "Winterbourne",
    "Coldspring",
    "Amberley",
    "Seabright",
    "Highgrove",
    "Marchfield",
    "Greywater",
    "Rosethorn",
    "Southglen",
    "Brackwater",
    "Clearlake",
    "Dunmarsh",
    "Foxglade",
    "Kingsreach",
    "Lakemoor",
    "Moonhill",
    "Pinecrest",
    "Redcastle",
    "Sandhollow",
    "Tidewell",
    "Westerling",
]
_SCHOOLS = (
    "State University",
    "Technical Institute",
    "College",
    "Academy",
    "City University",
    "Polytechnic",
    "Business School",
    "Arts College",
    "Medical Institute",
    "Teachers College",
)


def _university_names() -> Iterator[str]:
    """Three schools of each of the first ten founders, then of the next ten, and so on, round by round."""
    for schools in (range(0, 3), range(3, 6), range(6, 9), range(9, 10)):
        for group in range(0, 30, 10):
            for school in schools:
                for founder in range(group, group + 10):
                    yield f"{_FOUNDERS[founder]} {_SCHOOLS[(founder + school) % 10]}"


UNIVERSITIES: tuple[str, ...] = tuple(_university_names())

MAJORS: tuple[str, ...] = (
    "Hydrology",
    "Art History",
    "Physics",
    "Marine Biology",
    "Accounting",
    "Philosophy",
    "Civil Engineering",
    "Music",
    "Chemistry",
    "Political Science",
    "Nursing",
    "Linguistics",
    "Computer Science",
    "Economics",
    "Botany",
    "Social Work",
    "Geology",
    "Theater",
    "Applied Mathematics",
    "History",
    "Public Health",
    "Architecture",
    "Statistics",
    "Creative Writing",
    "Astronomy",
    "Marketing",
    "Mechanical Engineering",
    "Anthropology",
    "Food Science",
    "Law",
    "Zoology",
    "Graphic Design",
    "Sociology",
    "Applied Physics",
    "Journalism",
    "Dentistry",
    "Environmental Science",
    "Finance",
    "Mathematics",
    "Film Studies",
    "Pharmacy",
    "Electrical Engineering",
    "Geography",
    "Classics",
    "Biochemistry",
    "Hotel Management",
    "Psychology",
    "Forestry",
    "Data Science",
    "Sculpture",
    "Ecology",
    "International Relations",
    "Medicine",
    "Painting",
    "Chemical Engineering",
    "Archaeology",
    "Library Science",
    "Genetics",
    "Music Theory",
    "Agronomy",
    "Urban Planning",
    "Logistics",
    "Biology",
    "Religious Studies",
    "Oceanography",
    "Industrial Design",
    "Education",
    "Materials Science",
    "Criminology",
    "Neuroscience",
    "Public Policy",
    "Dance",
    "Software Engineering",
    "Meteorology",
    "Literature",
    "Sports Science",
    "Toxicology",
    "Human Geography",
    "Photography",
    "Microbiology",
    "Social Psychology",
    "Optics",
    "Business Administration",
    "Nutrition",
    "Fashion Design",
    "Immunology",
    "Aerospace Engineering",
    "Folklore",
    "Applied Linguistics",
    "Surveying",
    "Art Education",
    "Robotics",
    "Animal Science",
    "Demography",
    "Marine Engineering",
    "Viticulture",
    "Cognitive Science",
    "Metallurgy",
    "Music Education",
    "Horticulture",
)

_BRANDS = _combined_halves("Brel Corv Dyn Flux Glim Hyd Kov Lum Pyr Tek Zan", "anta exa ico ora une yx")
_TRADES = [
    "Foods",
    "Analytics",
    "Freight",
    "Motors",
    "Textiles",
    "Insurance",
    "Robotics",
    "Paper",
    "Energy",
    "Software",
    "Shipping",
    "Ceramics",
    "Furniture",
    "Optics",
    "Airlines",
    "Chemicals",
    "Toys",
    "Instruments",
    "Media",
    "Steel",
    "Hotels",
    "Seeds",
]


def _company_names() -> Iterator[str]:
    """Every brand with one trade, then every brand with another trade, four times."""
    for turn in range(4):
        for index, brand in enumerate(_BRANDS):
            yield f"{brand} {_TRADES[(index + 5 * turn) % 22]}"


COMPANIES: tuple[str, ...] = tuple(_company_names())[:263]


def headquarters_city(company: int, n_companies: int, n_cities: int) -> int:
    """Index of the city of a company's headquarters.

    Every seventh company (0, 7, 14, ...) is in city 0, so a constant guess of that city is right for about 14 percent
    of the companies, as in the paper. The others take cities 1, 2, 3, ... in turn and start over when two thirds as
    many cities as companies are in use (city 0 included), or all of them; the numbers of companies in two of these
    cities differ by at most one.

    Args:
        company: Index of the company, from 0 to n_companies - 1.
        n_companies: Number of companies in the world, at least 1.
        n_cities: Number of cities in the world, at least 2.

    Raises:
        ValueError: The company does not exist, or there are fewer than two cities.
    """
    if not 0 <= company < n_companies:
        raise ValueError(
            f"company {company} has no headquarters, because there are {n_companies} companies; number them from 0."
        )
    if n_cities < 2:
        raise ValueError(f"headquarters need city 0 and another one, but n_cities={n_cities}; give 2 or more.")
    if company % 7 == 0:
        return 0
    n_other_cities = max(1, min(n_cities, round(n_companies * 2 / 3)) - 1)
    return 1 + (company - company // 7 - 1) % n_other_cities
