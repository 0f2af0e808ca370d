"""Words of the shop in English and Chinese: categories, colours, brands."""

from dataclasses import dataclass

import numpy as np

# department=部门, then one line a group: `group=组: noun=词, ...`; `*`: consumable.
_TREE = """
home=家居
  lighting=灯具: floor lamp=落地灯, desk lamp=台灯, pendant light=吊灯
  furniture=家具: bookshelf=书架, armchair=扶手椅, coffee table=茶几
  textiles=家纺: cushion=抱枕, throw blanket=盖毯, duvet cover=被套
kitchen=厨房
  cookware=锅具: frying pan=煎锅, saucepan=奶锅, casserole=炖锅
  tableware=餐具: dinner plate=餐盘, mug=马克杯, water glass=玻璃杯
  pantry=食品: coffee beans*=咖啡豆, green tea*=绿茶, olive oil*=橄榄油
beauty=美妆
  skincare=护肤: face cream*=面霜, sunscreen*=防晒霜, cleanser*=洁面乳
  makeup=彩妆: lipstick=口红, mascara*=睫毛膏, eyeshadow palette=眼影盘
  hair=护发: shampoo*=洗发水, hair mask*=发膜, hair dryer=吹风机
fashion=服饰
  tops=上装: t-shirt=T恤, shirt=衬衫, sweater=毛衣
  shoes=鞋: sneaker=运动鞋, ankle boot=短靴, sandal=凉鞋
  bags=箱包: backpack=双肩包, tote bag=托特包, wallet=钱包
sports=运动
  fitness=健身: yoga mat=瑜伽垫, dumbbell=哑铃, resistance band=弹力带
  outdoor=户外: tent=帐篷, sleeping bag=睡袋, hiking pole=登山杖
  cycling=骑行: bike helmet=骑行头盔, bike light=车灯, water bottle=水壶
electronics=数码
  audio=音频: headphones=耳机, bluetooth speaker=蓝牙音箱, soundbar=回音壁
  mobile=手机配件: phone case=手机壳, power bank=充电宝, charging cable=数据线
  computing=电脑配件: keyboard=键盘, mouse=鼠标, monitor stand=显示器支架
kids=母婴
  toys=玩具: building blocks=积木, plush toy=毛绒玩具, puzzle=拼图
  baby=婴儿用品: diapers*=纸尿裤, baby wipes*=湿巾, baby bottle=奶瓶
  school=文具: pencil case=笔袋, notebook*=笔记本, lunch box=饭盒
pets=宠物
  dogs=狗: dog food*=狗粮, dog bed=狗窝, dog leash=牵引绳
  cats=猫: cat litter*=猫砂, scratching post=猫抓板, cat food*=猫粮
  aquarium=水族: fish tank=鱼缸, fish food*=鱼食, water filter=过滤器
"""
QUALIFIERS = (
    ("travel", "旅行"), ("compact", "迷你"), ("premium", "高端"),
    ("classic", "经典"), ("eco", "环保"), ("smart", "智能"),
)  # fmt: skip
COLOURS = {
    "en": ("black", "white", "red", "navy", "green", "beige", "grey", "pink"),
    "zh": ("黑色", "白色", "红色", "藏青色", "绿色", "米色", "灰色", "粉色"),
}
MATERIALS = {
    "en": ("wood", "steel", "cotton", "leather", "ceramic", "bamboo", "recycled"),
    "zh": ("实木", "不锈钢", "纯棉", "真皮", "陶瓷", "竹制", "再生材料"),
}
LINES = {
    "en": ("plus", "lite", "pro", "studio", "everyday", "air", "original", "max"),
    "zh": ("加强版", "轻便款", "专业款", "设计款", "日常款", "轻盈款", "原版", "大号"),
}
_SYLLABLES = {
    "en": ("nor", "vel", "tan", "mira", "lo", "kes", "dur", "avi", "sol", "fen"),
    "zh": ("诺", "维", "森", "美", "乐", "凯", "德", "安", "索", "丰"),
}


@dataclass(frozen=True)
class LeafName:
    """A leaf category: its place in the tree and what its items are called.

    Attributes:
        department: Number of the department.
        path: Levels joined by `/`.
        noun: What an item is called.
        is_consumable: Whether it is used up and bought again.
    """

    department: int
    path: str
    noun: str
    is_consumable: bool


def leaf_names(language: str, qualifier: int | None = None) -> list[LeafName]:
    """Returns the leaf categories of the tree.

    Args:
        language: `en` or `zh`.
        qualifier: None: the plain nouns; else which of `QUALIFIERS` precedes them.
    """
    part = 0 if language == "en" else 1
    prefix = QUALIFIERS[qualifier][part] if qualifier is not None else ""
    leaves, department, department_name = [], -1, ""
    for line in _TREE.strip().splitlines():
        if not line.startswith(" "):
            department += 1
            department_name = line.split("=")[part]
            continue
        group, _, words = line.partition(":")
        for word in words.split(","):
            noun = word.strip().split("=")[part].removesuffix("*")
            if prefix:
                noun = f"{prefix} {noun}" if language == "en" else prefix + noun
            group_name = group.strip().split("=")[part]
            path = "/".join((department_name, group_name, noun.replace(" ", "-")))
            leaves.append(LeafName(department, path, noun, "*" in word))
    return leaves


def choose_leaves(
    count: int, language: str, rng: np.random.Generator
) -> list[LeafName]:
    """Draws `count` leaf categories: plain nouns first, then qualified ones."""
    chosen: list[LeafName] = []
    for qualifier in (None, *range(len(QUALIFIERS))):
        leaves = leaf_names(language, qualifier)
        order = rng.permutation(len(leaves))
        chosen += [leaves[i] for i in order]
    return chosen[:count]


def brand_names(count: int, language: str, rng: np.random.Generator) -> list[str]:
    """Draws `count` distinct invented brand names."""
    syllables = _SYLLABLES[language]
    names: dict[str, None] = {}
    length = 2
    while len(names) < count:
        parts = rng.integers(0, len(syllables), (4 * count, length))
        for row in parts:
            word = "".join(syllables[i] for i in row)
            names.setdefault(word.capitalize() if language == "en" else word)
        length += 1
    return list(names)[:count]
